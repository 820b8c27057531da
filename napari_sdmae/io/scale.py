"""Micrometres per pixel, where an image file states them."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import tifffile

SMALLEST_MPP, LARGEST_MPP = 0.05, 20.0
"""Outside of this, a scale is no microscope's: 72, 96 and 300 dpi, which programs write by default, are 353, 265 and 85 µm/px."""

_MICROMETRES = {"nm": 1e-3, "µm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6, "inch": 25_400.0}
_PER_UNIT = {2: 25_400.0, 3: 10_000.0}
"""Micrometres in TIFF's ResolutionUnit: inch, centimetre."""


def plausible_mpp(mpp: float | None) -> float | None:
    """Return `mpp` when a microscope can have it (0.05-20 µm/px), else None."""
    return mpp if mpp is not None and SMALLEST_MPP <= mpp <= LARGEST_MPP else None


def tiff_mpp(file: tifffile.TiffFile) -> float | None:
    """Return the µm/px of a TIFF's largest level: OME-XML, then Aperio, then ImageJ, then the resolution tags."""
    stated = (_ome(file), _aperio(file), _imagej(file), _resolution(file, _unit_of_tag(file)))
    return next((mpp for mpp in map(plausible_mpp, stated) if mpp), None)


def _ome(file: tifffile.TiffFile) -> float | None:
    if not file.is_ome or not file.ome_metadata:
        return None
    pixels = ElementTree.fromstring(file.ome_metadata).find(".//{*}Pixels")
    if pixels is None or "PhysicalSizeX" not in pixels.attrib:
        return None
    return _in_micrometres(pixels.attrib["PhysicalSizeX"], pixels.attrib.get("PhysicalSizeXUnit", "µm"))


def _aperio(file: tifffile.TiffFile) -> float | None:
    found = re.search(r"\bMPP\s*=\s*([0-9.]+)", file.pages[0].description)
    return _in_micrometres(found.group(1), "µm") if found else None


def _imagej(file: tifffile.TiffFile) -> float | None:
    metadata: dict[str, Any] = file.imagej_metadata or {}
    return _resolution(file, _MICROMETRES.get(_unit(str(metadata.get("unit", "")))))


def _unit_of_tag(file: tifffile.TiffFile) -> float | None:
    tag = file.pages[0].tags.get("ResolutionUnit")
    return _PER_UNIT.get(2 if tag is None else int(tag.value))


def _resolution(file: tifffile.TiffFile, micrometres_per_unit: float | None) -> float | None:
    tag = file.pages[0].tags.get("XResolution")
    if tag is None or micrometres_per_unit is None:
        return None
    pixels, units = tag.value
    return micrometres_per_unit * units / pixels if pixels else None


def _in_micrometres(number: str, unit: str) -> float | None:
    factor = _MICROMETRES.get(_unit(unit))
    try:
        return float(number) * factor if factor else None
    except ValueError:
        return None


def _unit(name: str) -> str:
    """Spell a unit one way: ImageJ escapes the micro sign, and Unicode has two of them."""
    return name.strip().replace("\\u00B5", "µ").replace("\u03bc", "µ").lower()
