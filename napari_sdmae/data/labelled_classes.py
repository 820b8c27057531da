"""The classes of a labelled set: from ``classes.json`` or ``classes.csv``, or found in the labels. No torch."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from napari_sdmae.data.labelled_sets import Listing
from napari_sdmae.data.sources import DataError
from napari_sdmae.label_map import LabelClass, colour_of, make_classes

CLASS_FILES = ("classes.json", "classes.csv")
MOST_CLASSES = 64
"""More values than this in masks are numbers of objects, not classes."""
NUCLEUS = "nucleus"


def read_classes(folder: Path) -> tuple[LabelClass, ...]:
    """Return the classes that are listed in `folder`, by value; empty if none are.

    They come from ``classes.json`` or ``classes.csv``, else from all ``NAME.classes.json`` beside exported label images.
    The JSON is a list of ``{"value", "name", "colour"}``, or a dictionary with that list as ``"classes"``; the CSV has these
    columns, the colour as ``#rrggbb``. Colours may be left out.

    Raises
    ------
    DataError
        If a file cannot be understood, or files give one value or name to different classes.
    """
    path = next((folder / name for name in CLASS_FILES if (folder / name).is_file()), None)
    if path is not None:
        return _read_file(path)
    known: dict[int, LabelClass] = {}
    for place in (folder, *(folder / name for name in ("masks", "labels"))):
        for path in sorted(place.glob("*.classes.json")):
            for one in _read_file(path):
                if known.setdefault(one.value, one).name != one.name:
                    raise DataError(f"{path} calls the value {one.value} {one.name}, other files {known[one.value].name}")
    classes = tuple(known[value] for value in sorted(known))
    _refuse_doubles(classes, folder)
    return classes


def _read_file(path: Path) -> tuple[LabelClass, ...]:
    try:
        entries = _entries(path)
        classes = tuple(sorted((_class(entry) for entry in entries), key=lambda one: one.value))
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = f"{error.errors()[0]['loc']} {error.errors()[0]['msg']}" if isinstance(error, ValidationError) else str(error)
        raise DataError(f"{path} cannot be used ({reason}): expected value, name and colour of each class") from error
    if not classes:
        raise DataError(f"{path}: expected at least one class")
    _refuse_doubles(classes, path)
    return classes


def _refuse_doubles(classes: tuple[LabelClass, ...], path: Path) -> None:
    if len({one.value for one in classes}) < len(classes) or len({one.name for one in classes}) < len(classes):
        raise DataError(f"{path}: expected no value or name of a class twice")


def _entries(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".json":
        content = json.loads(path.read_text(encoding="utf-8"))
        return list(content["classes"] if isinstance(content, dict) else content)
    table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    return [{str(key).strip().lower(): value for key, value in row.items()} for row in table.to_dict("records")]


def _class(entry: dict[str, Any]) -> LabelClass:
    value = int(entry["value"])
    colour = entry.get("colour") or entry.get("color") or colour_of(value)
    if isinstance(colour, str):
        digits = colour.strip().removeprefix("#")
        if len(digits) != 6:
            raise ValueError(f"colour {colour!r} is not of the form #rrggbb")
        colour = tuple(bytes.fromhex(digits))
    return LabelClass(value=value, name=str(entry["name"]).strip(), colour=tuple(colour))


def mask_classes(found: Collection[int], given: tuple[LabelClass, ...], ignore_value: int) -> tuple[LabelClass, ...]:
    """Return the classes of segmentation: those given, or one for each value `found` in the masks that is not left out.

    Lists of classes often leave out the background: it is added where the masks hold 0.

    Raises
    ------
    DataError
        If fewer than two classes remain, or more than can be classes.
    """
    values = sorted(set(found) - {ignore_value})
    listed = tuple(one for one in given if one.value != ignore_value)
    unlisted = _named([0]) if listed and 0 in values and all(one.value for one in listed) else ()
    classes = (*unlisted, *listed) or _named(values)
    if not given and set(found) == {0, 255} and ignore_value == 255:
        raise DataError(
            "the masks hold only 0 and 255, and 255 is left out: if 255 is your class, set labels.ignore_value "
            "(--labels.ignore-value) to a value that is not used, such as 254"
        )
    if len(values) > MOST_CLASSES and not given:
        raise DataError(
            f"the masks hold {len(values)} values: those look like numbers of objects (task instances); "
            "for classes, list them in classes.json"
        )
    if len(classes) < 2:
        raise DataError(
            f"the masks hold {_listed(values)} besides the value left out ({ignore_value}): expected at least two classes "
            "(0 is background unless labels.ignore_value is 0)"
        )
    return classes


def object_classes(found: Collection[int], given: tuple[LabelClass, ...]) -> tuple[LabelClass, ...]:
    """Return the types of objects: those given, else one for each value found in the types, else nuclei."""
    return tuple(one for one in given if one.value > 0) or _named(sorted(set(found) - {0})) or make_classes([NUCLEUS], 1)


def name_classes(names: Iterable[str], given: tuple[LabelClass, ...]) -> tuple[LabelClass, ...]:
    """Return the classes of whole images: those given, else one for each name, sorted (numbers as numbers), from value 0.

    Raises
    ------
    DataError
        If a name is not among the given ones, or there are fewer than two.
    """
    found = sorted(set(names), key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name))
    classes = given or make_classes(found)
    unknown = set(found) - {one.name for one in classes}
    if unknown:
        raise DataError(
            f"the label {sorted(unknown)[0]!r} is not in classes.json: there are {', '.join(c.name for c in classes)}"
        )
    if len(classes) < 2:
        raise DataError(f"there is only the class {', '.join(found) or '(none)'}: expected at least two to tell apart")
    return classes


def leave_out(listing: Listing, names: Collection[str]) -> Listing:
    """Return `listing` without the images of the classes `names` (in any case); it says which of these there are not."""
    there = {item.label_name.casefold() for item in listing.items if item.label_name}
    kept = [item for item in listing.items if not _among(item.label_name or "", names)]
    missing = [name for name in names if name.casefold() not in there]
    said = [f"there is no class {' or '.join(missing)} to leave out"] if missing else []
    return replace(listing, items=kept, warnings=[*listing.warnings, *said])


def without(classes: tuple[LabelClass, ...], names: Collection[str]) -> tuple[LabelClass, ...]:
    """Return `classes` but for those called as in `names`."""
    return tuple(one for one in classes if not _among(one.name, names))


def _among(name: str, names: Collection[str]) -> bool:
    return name.casefold() in {one.casefold() for one in names}


def _named(values: list[int]) -> tuple[LabelClass, ...]:
    return tuple(
        LabelClass(
            value=value,
            name="background" if value == 0 else f"class {value}",
            colour=(0, 0, 0) if value == 0 else colour_of(value),
        )
        for value in values
    )


def _listed(values: list[int]) -> str:
    return f"only the value {values[0]}" if len(values) == 1 else "no value" if not values else f"the values {values}"
