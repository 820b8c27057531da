"""The classes of a labelled set: from ``classes.json`` or ``classes.csv``, or found in the labels. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from napari_sdmae.data.image_folder import DataError
from napari_sdmae.data.labelled.labelled_set import LayoutListing
from napari_sdmae.data.labelled.layouts.tables import CLASS_FILES
from napari_sdmae.humanize import several
from napari_sdmae.labels.label_map import LabelClass, colour_of, make_classes
from napari_sdmae.text.documents import read_json, read_table
from napari_sdmae.text.errors import error_line, first_problem
from napari_sdmae.text.spelling import ByName, near

PLACES = ("", "masks", "labels")
"""Folders below the data in which lists of classes may lie."""
COLUMNS = {"value": ("value", "id", "index"), "name": ("name", "class", "label"), "colour": ("colour", "color")}
MOST_CLASSES = 64
"""More values than this in masks are numbers of objects, not classes."""
LEAST_GREY = 64
"""A value from here on beside 0 and 255 is a grey level rather than the number of a class."""
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
    files = [path for place in PLACES if (folder / place).is_dir() for path in sorted((folder / place).iterdir())]
    listed = [path for name in CLASS_FILES for path in files if near(path.name) == name and path.is_file()]
    if listed:
        return _read_file(listed[0])
    known: dict[int, LabelClass] = {}
    for path in files:
        if path.name.lower().endswith(".classes.json") and not path.name.startswith("."):
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
        reason = first_problem(error) if isinstance(error, ValidationError) else error_line(error)
        raise DataError(f"{path} cannot be used ({reason}): expected value, name and colour of each class") from error
    if not classes:
        raise DataError(f"{path}: expected at least one class")
    _refuse_doubles(classes, path)
    return classes


def _refuse_doubles(classes: tuple[LabelClass, ...], path: Path) -> None:
    if len({one.value for one in classes}) < len(classes) or len({one.name for one in classes}) < len(classes):
        raise DataError(f"{path}: expected no value or name of a class twice")


def _entries(path: Path) -> list[dict[str, Any]]:
    if path.suffix.lower() == ".csv":
        return [{near(column): cell for column, cell in row.items()} for row in read_table(path).rows]
    content = read_json(path)
    listed = content.get("classes", content) if isinstance(content, dict) else content
    if isinstance(listed, dict):  # {"1": "gland"}
        return [{"value": value, "name": name} for value, name in listed.items()]
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise ValueError("no list of classes")
    return listed


def _class(entry: dict[str, Any]) -> LabelClass:
    given = {what: next((entry[word] for word in words if word in entry), None) for what, words in COLUMNS.items()}
    missing = [what for what in ("value", "name") if given[what] in (None, "")]
    if missing:
        raise ValueError(f"no {' and no '.join(missing)} in {', '.join(f'{key}: {value}' for key, value in entry.items())[:80]}")
    value = int(str(given["value"]))
    colour = given["colour"] or colour_of(value)
    if isinstance(colour, str):
        digits = colour.strip().removeprefix("#")
        if len(digits) != 6:
            raise ValueError(f"colour {colour!r} is not of the form #rrggbb")
        colour = tuple(bytes.fromhex(digits))
    return LabelClass(value=value, name=str(given["name"]).strip(), colour=tuple(colour))


def mask_classes(found: Collection[int], given: tuple[LabelClass, ...], ignore_value: int) -> tuple[LabelClass, ...]:
    """Return the classes of segmentation: those given, or one for each value `found` in the masks that is not left out.

    Lists of classes often leave out the background: it is added where the masks hold 0.

    Raises
    ------
    DataError
        If fewer than two classes remain, or more than can be classes, or the value left out may be a class.
    """
    values = sorted(set(found) - {ignore_value})
    listed = tuple(one for one in given if one.value != ignore_value)
    unlisted = _named([0]) if listed and 0 in values and all(one.value for one in listed) else ()
    classes = (*unlisted, *listed) or _named(values)
    _refuse_class_left_out(sorted(set(found)), given, ignore_value)
    if len(values) > MOST_CLASSES and not given:
        raise DataError(
            f"the masks hold {len(values)} values: those look like numbers of objects (task instances); "
            "for classes, list them in classes.json"
        )
    if len(classes) < 2:
        raise DataError(
            f"the masks hold {_listed(values)} besides the value left out ({ignore_value}): expected at least two classes "
            "(0 is background unless labels.ignore_value is 0; of annotations, what lies undrawn in a Region*)"
        )
    return classes


def _refuse_class_left_out(found: list[int], given: tuple[LabelClass, ...], ignore_value: int) -> None:
    """Refuse a value that is both left out and a class: one that is listed, or white in masks whose values are grey levels."""
    set_another = "set labels.ignore_value (--labels.ignore-value) to a value that is not used, such as 254"
    named = next((one.name for one in given if one.value == ignore_value and ignore_value), None)
    if named and ignore_value in found:
        raise DataError(f"the value {ignore_value} is listed as the class {named}, and is the one left out: {set_another}")
    grey = [value for value in found if value not in (0, ignore_value)]
    if given or ignore_value != 255 or 255 not in found or (grey and max(grey) < LEAST_GREY) or found == [255]:
        return
    if len(found) <= MOST_CLASSES:
        held = f"{', '.join(map(str, found[:-1]))} and 255" if grey else "only 0 and 255"
        otherwise = "; if it is not, list the classes in classes.json" if grey else ""
        raise DataError(f"the masks hold {held}, and 255 is left out: if 255 is your class, {set_another}{otherwise}")


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


def spell_alike(listing: LayoutListing, given: tuple[LabelClass, ...]) -> LayoutListing:
    """Return `listing` with the names of classes that differ in case only spelled one way, and say which.

    That of the classes `given` where there is one, else the most frequent; names that are listed are left as they are.
    """
    often = Counter(item.label_name for item in listing.items if item.label_name)
    listed = ByName((one.name, one.name) for one in given)
    default: dict[str, str] = {}
    for name, _ in sorted(often.items(), key=lambda pair: (-pair[1], pair[0])):
        default.setdefault(near(name), name)
    spelled = {name: listed.find(name) or (name if given else default[near(name)]) for name in often}
    changed = {name: new for name, new in spelled.items() if name != new}
    items = [replace(item, label_name=changed.get(item.label_name or "", item.label_name)) for item in listing.items]
    images = {name: several(often[name], "image", "images") for name in changed}
    said = [f"the class {name} ({images[name]}) is taken as {new}: only case differs" for name, new in changed.items()]
    return replace(listing, items=items, warnings=[*listing.warnings, *said])


def leave_out(listing: LayoutListing, names: Collection[str]) -> LayoutListing:
    """Return `listing` without the images of the classes `names` (in any case); it says which of these there are not."""
    there = {near(item.label_name) for item in listing.items if item.label_name}
    kept = [item for item in listing.items if not _among(item.label_name or "", names)]
    missing = [name for name in names if near(name) not in there]
    said = [f"there is no class {' or '.join(missing)} to leave out"] if missing else []
    return replace(listing, items=kept, warnings=[*listing.warnings, *said])


def without(classes: tuple[LabelClass, ...], names: Collection[str]) -> tuple[LabelClass, ...]:
    """Return `classes` but for those called as in `names`."""
    return tuple(one for one in classes if not _among(one.name, names))


def _among(name: str, names: Collection[str]) -> bool:
    return near(name) in {near(one) for one in names}


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
