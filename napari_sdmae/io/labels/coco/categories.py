"""The categories of COCO files as classes, whatever their ids: 0, negative, with gaps, huge, or text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from napari_sdmae.labels.label_map import LabelClass, colour_of


@dataclass(frozen=True)
class Categories:
    """Classes, the class value of each category id, and what to tell of ids that are used and not listed."""

    classes: tuple[LabelClass, ...]
    values: Mapping[Any, int]
    warnings: tuple[str, ...] = ()


def read_categories(listed: Sequence[Mapping[str, Any]], used: Iterable[Any] = ()) -> Categories:
    """Return the classes of `listed` categories; one that is `used` and not listed is called by its id.

    The value of a class is the id of its category where all ids can be values (1 to 65535), else its place from 1 in their order.

    Raises
    ------
    KeyError, TypeError, ValueError
        If a category has no id, two have the same, or an id is neither number nor text.
    """
    named = {one["id"]: one for one in listed}
    if len(named) < len(listed):
        raise ValueError("two categories have the same id")
    unlisted = list(dict.fromkeys(one for one in used if one not in named))
    ids = [*named, *unlisted]
    if not all(isinstance(one, int | str) and not isinstance(one, bool) for one in ids):
        raise TypeError("a category id that is neither a whole number nor text")
    ordered = sorted(ids) if all(isinstance(one, int) for one in ids) else ids
    fitting = all(isinstance(one, int) and 1 <= one <= 65_535 for one in ordered)
    values = {one: one if fitting else place for place, one in enumerate(ordered, 1)}
    said = (f"{len(unlisted)} categories are not listed and are called by their ids: {', '.join(map(str, unlisted[:5]))}",)
    return Categories(tuple(_class(one, named.get(one, {}), values[one]) for one in ordered), values, said if unlisted else ())


def _class(identity: Any, category: Mapping[str, Any], value: int) -> LabelClass:
    name = str(category.get("name") or "").strip() or f"category {identity}"
    return LabelClass(value=value, name=name, colour=_colour(category.get("color", category.get("colour")), value))


def _colour(given: Any, value: int) -> tuple[int, int, int]:
    if not isinstance(given, list) or len(given) < 3 or not all(isinstance(one, int) and 0 <= one <= 255 for one in given[:3]):
        return colour_of(value)
    return (given[0], given[1], given[2])
