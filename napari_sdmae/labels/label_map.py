"""What a head says about tissue: classes, and labels with their place in the picture. Pure NumPy.

A :class:`LabelMap` is what every overlay, table, export and import holds, so that scale, place and class names are never lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from napari_sdmae.text.spelling import one_form

IGNORE = -1
"""Class index of pixels whose class is not known: neither learned nor counted."""

PALETTE = (
    (230, 75, 53),
    (77, 187, 213),
    (0, 160, 135),
    (243, 155, 127),
    (60, 84, 136),
    (145, 209, 194),
    (126, 97, 72),
    (255, 200, 60),
    (132, 145, 180),
    (190, 90, 190),
)
"""Colours of classes that bring none, in the order of their values; after the last the first comes again."""

Colour = tuple[int, int, int]


class LabelClass(BaseModel):
    """One class of a head: what a pixel, object or tile can be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: int = Field(ge=0, le=65535, description="The class's value in masks and layers.")
    name: str = Field(min_length=1, description="What a pathologist calls it.")
    colour: Colour = Field(description="Red, green, blue, 0-255 each.")

    @field_validator("name")
    @classmethod
    def _spell_one_way(cls, name: str) -> str:
        """Names from macOS and from Windows are the same name."""
        return one_form(name)


def colour_of(value: int) -> Colour:
    """Return the palette's colour for a class of `value`."""
    return PALETTE[(value - 1) % len(PALETTE)]


def make_classes(names: Sequence[str], first: int = 0) -> tuple[LabelClass, ...]:
    """Return classes of these names with the values `first`, `first` + 1 … and the palette's colours."""
    return tuple(LabelClass(value=value, name=name, colour=colour_of(value)) for value, name in enumerate(names, first))


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Labels of a region of one picture.

    Attributes
    ----------
    labels
        Integers (rows, columns), 0 = nothing. Class values if not `instances`, else the number of the object.
    classes
        All classes there are, value 0 (background) left out; of instances at least one.
    instances
        Whether each value is one object.
    class_of
        Of instances: class value of each object number.
    mpp
        µm per pixel of the **source** at full resolution; None if unknown.
    origin
        (row, column) in full-resolution source pixels of the corner of the first label pixel.
    step
        Full-resolution source pixels per label pixel: 1, or the downsampling at which the labels were computed.
    source
        File or layer the labels belong to, as text; empty if unknown.
    nuclei
        Of cells: labels of their nuclei, same shape and numbers, each nucleus inside its cell; None where there are none.
    measurements
        One column per name, beginning with ``label`` (object or class value), units in the names; empty if not measured.
    """

    labels: NDArray[np.int32]
    classes: tuple[LabelClass, ...]
    instances: bool = False
    class_of: Mapping[int, int] = field(default_factory=dict)
    mpp: float | None = None
    origin: tuple[float, float] = (0.0, 0.0)
    step: float = 1.0
    source: str = ""
    nuclei: NDArray[np.int32] | None = None
    measurements: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)

    @property
    def label_mpp(self) -> float | None:
        """Micrometres per label pixel."""
        return None if self.mpp is None else self.mpp * self.step

    def class_named(self, value: int) -> LabelClass:
        """Return the class of this value; one that is not listed is called by its number."""
        known = next((one for one in self.classes if one.value == value), None)
        return known or LabelClass(value=value, name=f"class {value}", colour=colour_of(value))

    def class_at(self, label: int) -> LabelClass:
        """Return the class of a label: of the object with this number, or the class of this value."""
        if not self.instances:
            return self.class_named(label)
        return self.class_named(self.class_of.get(label, self.classes[0].value if self.classes else 1))
