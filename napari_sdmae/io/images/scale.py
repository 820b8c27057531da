"""Micrometres per pixel, where an image file states them: what is stated, and whether it is believed.

Files state 250 µm/px where they mean nm, and 72, 96 or 300 dpi where nobody measured anything; a wrong scale is worse than
none. Outside 0.05 to 20 µm/px, and where width and height of a pixel differ by more than 1 %, the scale is unknown, and a note
gives what was stated, the reason and the way out (``--mpp``). Nothing is repaired: dividing by 1000 or resampling would be
guesses, and coordinates would no longer be those of the file. The usual resolutions of printers count as no statement.
``tests/io/images/test_scale.py``: 28 spellings of units.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import tifffile

from napari_sdmae.config.limits import implausible

SQUARE = 1.01
"""Width and height of a pixel that differ by no more than this factor are one scale."""
DEFAULT_DPI = (1, 2.54, 28, 50, 72, 75, 96, 100, 120, 150, 180, 200, 220, 240, 254, 300, 350, 360, 400, 600, 720, 1200, 2400)
"""Resolutions, in dots per inch, that programs and printers write without anybody having measured anything."""

GIVE = "give mpp"
"""How a note ends that is of no concern once the scale is given."""
INCH = 25_400.0
_EXACT = {
    **{f"{prefix}m": 1e6 * 10.0**power for prefix, power in zip("YZEPTGMk", range(24, 0, -3), strict=True)},
    **{f"{prefix}m": 1e6 * 10.0**-power for prefix, power in zip("mµnpfazy", range(3, 25, 3), strict=True)},
    **{"hm": 1e8, "dam": 1e7, "m": 1e6, "dm": 1e5, "cm": 1e4, "Å": 1e-4},
    **{"thou": INCH / 1e3, "li": INCH / 12, "in": INCH, "ft": 12 * INCH, "yd": 36 * INCH, "mi": 63_360 * INCH, "pt": INCH / 72},
}
"""Micrometres in each unit of length of the OME schema; of these, Mm and mm differ by their case alone."""
_NAMES = {
    **dict.fromkeys(("um", "mum", "mcm", "micron", "micro-meter", "micrometer", "micrometre"), 1.0),
    **dict.fromkeys(("nanometer", "nanometre"), 0.001),
    **dict.fromkeys(("millimeter", "millimetre"), 1000.0),
    **dict.fromkeys(("centimeter", "centimetre"), 10000.0),
    **dict.fromkeys(("meter", "metre"), 1000000.0),
    **dict.fromkeys(("angstrom", "ångstrom", "ångström"), 0.0001),
    **dict.fromkeys(("inch", "inche", '"'), INCH),
}
"""Micrometres in each unit that people and programs spell out, in small letters and without the s of the plural."""
_NONE = {"", "pixel", "px", "pixels", "reference frame", "none", "null", "unknown", "arbitrary"}
_PER_UNIT = {2: INCH, 3: 10_000.0}
"""Micrometres in TIFF's ResolutionUnit: inch, centimetre."""


def resolution_tags(mpp: float | None) -> dict[str, Any]:
    """Return the scale in µm/px as :mod:`tifffile` writes it; nothing if it is unknown."""
    return {} if mpp is None else {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}


@dataclass(frozen=True)
class Scale:
    """µm per pixel of a file, None if unknown, and what must be said about it, such as why a stated value is not believed."""

    mpp: float | None = None
    note: str = ""


def is_doubt(note: str) -> bool:
    """Return whether a note is about a scale that is not believed, and of no concern where the scale is given."""
    return note.endswith(GIVE)


def judge(width: float | None, height: float | None, source: str) -> Scale:
    """Return what is believed of a stated pixel size.

    Parameters
    ----------
    width, height
        Size of a pixel in µm; None, 0 or not finite: not stated.
    source
        What states it, for the note.
    """
    stated = [size for size in (width, height) if size and math.isfinite(size)]
    if not stated:
        return Scale()
    if max(map(abs, stated)) > SQUARE * min(map(abs, stated)):
        return Scale(
            None,
            f"its pixels are not square: the {source} states {stated[0]:.4g} × {stated[1]:.4g} µm (width × height), so that no "
            f"scale is taken from it; resample it to square pixels, or {GIVE}",
        )
    doubt = implausible(stated[0])
    return Scale(None, f"the {source} states a scale that is not used: {doubt}; {GIVE}") if doubt else Scale(stated[0])


def info_scale(info: Mapping[Any, Any]) -> Scale:
    """Return the scale of a PNG, JPEG or BMP: of its resolution, as Pillow gives it in ``info``."""
    aspect = info.get("aspect")  # of PNG: pixels of a stated shape and of no stated size
    if aspect and 0 < aspect[0] != aspect[1] > 0:
        sides = f"{aspect[1]} to {aspect[0]} (width to height)"
        return Scale(None, f"its pixels are not square: their sides are stated as {sides}; {GIVE}")
    try:
        across, down = (float(value) for value in info.get("dpi", ()))
    except (TypeError, ValueError, ZeroDivisionError):
        return Scale()
    return _judge_resolution(INCH / across if across else None, INCH / down if down else None, "resolution")


def tiff_scale(file: tifffile.TiffFile, image: int = 0) -> Scale:
    """Return the scale of a TIFF's largest level: of OME-XML, then Aperio, then ImageJ, then the resolution tags.

    Parameters
    ----------
    image
        Which image of the OME-XML, from 0.
    """
    found = [_ome(file, image), _aperio(file), _imagej(file), _tags(file)]
    told = [one for one in found if one.mpp or one.note]
    return next((one for one in told if one.mpp or "not square" in one.note), told[0] if told else Scale())


def tiff_mpp(file: tifffile.TiffFile) -> float | None:
    """Return the µm/px of a TIFF's largest level, None where none is believed."""
    return tiff_scale(file).mpp


def _ome(file: tifffile.TiffFile, image: int) -> Scale:
    if not file.is_ome or not file.ome_metadata:
        return Scale()
    try:
        images = ElementTree.fromstring(file.ome_metadata).findall(".//{*}Pixels")
    except ElementTree.ParseError:
        return Scale(None, f"its OME-XML is damaged, and a scale that it states is not read; {GIVE}")
    if not images:
        return Scale()
    about = images[image if image < len(images) else 0].attrib
    sizes, unknown = [], ""
    for axis in "XY":
        unit = about.get(f"PhysicalSize{axis}Unit", "µm")
        stated = about.get(f"PhysicalSize{axis}")
        unknown = unknown or (_unknown(unit) if stated else "")
        sizes.append(_in_micrometres(stated, unit))
    return Scale(None, unknown) if unknown else judge(sizes[0], sizes[1], "OME-XML")


def _aperio(file: tifffile.TiffFile) -> Scale:
    found = re.search(r"\bMPP\s*=\s*([0-9.,]+)", file.pages[0].description)
    return judge(_in_micrometres(found[1], "µm"), None, "Aperio description") if found else Scale()


def _imagej(file: tifffile.TiffFile) -> Scale:
    metadata: dict[str, Any] = file.imagej_metadata or {}
    units = [str(metadata.get(name) or metadata.get("unit") or "") for name in ("unit", "yunit")]
    if unknown := next(filter(None, map(_unknown, units)), ""):
        return Scale(None, unknown)
    across, down = (micrometres_in(unit) for unit in units)
    if across is None or down is None:
        return Scale()
    return _judge_resolution(_pixel(file, "XResolution", across), _pixel(file, "YResolution", down), "ImageJ description")


def _tags(file: tifffile.TiffFile) -> Scale:
    tag = file.pages[0].tags.get("ResolutionUnit")
    unit = _PER_UNIT.get(2 if tag is None else int(tag.value))
    if unit is None:
        return Scale()
    return _judge_resolution(_pixel(file, "XResolution", unit), _pixel(file, "YResolution", unit), "resolution tag")


def _judge_resolution(width: float | None, height: float | None, source: str) -> Scale:
    """Return what is believed of a pixel size in µm; the usual resolutions of programs and printers are no statement."""
    sizes = [size for size in (width, height) if size and math.isfinite(size)]
    if all(any(abs(INCH / size / usual - 1) < 0.01 for usual in DEFAULT_DPI) for size in sizes):
        return Scale()
    return judge(width, height, source)


def _pixel(file: tifffile.TiffFile, name: str, micrometres: float) -> float | None:
    """Return the size of a pixel in µm by a tag of pixels per unit; None if it is missing, 0 or infinite."""
    tag = file.pages[0].tags.get(name)
    try:
        pixels, units = tag.value
        return micrometres * units / pixels if pixels and units else None
    except (AttributeError, TypeError, ValueError):  # no such tag, or not a fraction
        return None


def _in_micrometres(number: str | None, unit: str) -> float | None:
    factor = micrometres_in(unit)
    try:
        return float((number or "").strip().replace(",", ".")) * factor if factor else None
    except ValueError:
        return None


def micrometres_in(unit: str) -> float | None:
    """Return how many µm a unit of length has, in any spelling of OME, ImageJ, Bio-Formats or QuPath; None if it is none."""
    name = _spelled(unit)
    small = name.lower()
    return _EXACT.get(name) or _EXACT.get(small) or _NAMES.get(small.removesuffix("s")) or _NAMES.get(small)


def _unknown(unit: str) -> str:
    """Return a note if `unit` is neither a length nor one of the words for none."""
    if micrometres_in(unit) or _spelled(unit).lower() in _NONE:
        return ""
    return f"its scale is stated in “{unit[:40]}”, which is no known unit: it is not used; {GIVE}"


def _spelled(name: str) -> str:
    """Spell a unit one way: ImageJ escapes the micro sign, XML names it, Unicode has two of them, old files mangle it."""
    plain = re.sub(r"\\u00b5", "µ", html.unescape(name), flags=re.IGNORECASE).replace("\u03bc", "µ").replace("Âµ", "µ")
    return plain.replace("\u212b", "Å").replace("A\u030a", "Å").replace("\ufffdm", "µm").strip().rstrip(".\0 ")
