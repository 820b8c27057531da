"""The class and colour of an object as other programs write them: QuPath, TIAToolbox, TissUUmaps, HoVer-Net, plain text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from napari_sdmae.text.spelling import one_form

Colour = tuple[int, int, int]
KINDS = {"annotation", "detection", "cell", "tile", "tmacore", "root"}
"""QuPath's types of objects, which are no classes."""
CLASS_KEYS = ("classification", "class", "class_name", "className", "label", "category", "type", "taxonomy", "object_type")
"""Properties that hold the class, the likeliest first; ``name`` does where the object is none of QuPath's."""
COLOUR_KEYS = ("color", "colour", "colorRGB")
OTHER_KEYS = {"objectType", "isLocked", "measurements", "metadata", "name", "childObjects", *COLOUR_KEYS, *CLASS_KEYS}
"""Properties that hold something else."""


def peer_class(properties: Mapping[str, Any]) -> tuple[str | None, Colour | None]:
    """Return the name of the class of an object, None if it has none, and the colour, None if it has none that is understood."""
    ours = "objectType" in properties or "measurements" in properties  # QuPath's, whose `name` is that of the single object
    keys = CLASS_KEYS if ours else (*CLASS_KEYS, "name")
    for key in keys:
        value = properties.get(key)
        name = _name(value)
        if name and not (key in ("type", "object_type") and name.casefold() in KINDS):
            inside = _colour(value) if isinstance(value, Mapping) else None
            return one_form(name), inside or _colour(properties)
    return None, _colour(properties)


def unknown_keys(properties: Mapping[str, Any]) -> list[str]:
    """Return the properties of an object without class that may have been meant to hold one."""
    return sorted(key for key, value in properties.items() if key not in OTHER_KEYS and isinstance(value, str | int))


def _name(value: Any) -> str | None:
    """Return a name given as text, number or QuPath's object, whose ``names`` are the parts of a derived class."""
    if isinstance(value, Mapping):
        parts = value.get("names")
        return _name(value.get("name")) or (": ".join(map(str, parts)) if isinstance(parts, list) and parts else None)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return str(value).strip() or None


def _colour(about: Mapping[str, Any]) -> Colour | None:
    packed = about.get("colorRGB")  # until QuPath 0.3: one signed integer
    given = next((about[key] for key in ("color", "colour") if about.get(key) is not None), packed)
    if isinstance(given, str) and re.fullmatch(r"#[0-9a-fA-F]{6}", given):
        given = list(bytes.fromhex(given[1:]))
    if isinstance(given, int) and not isinstance(given, bool):
        given = [given >> 16 & 255, given >> 8 & 255, given & 255]
    if not isinstance(given, list) or len(given) < 3:
        return None
    if not all(isinstance(one, int | float) and 0 <= one <= 255 for one in given[:3]):
        return None
    red, green, blue = (int(one) for one in given[:3])
    return red, green, blue
