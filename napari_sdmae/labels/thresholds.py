"""Where prediction separates objects (:mod:`napari_sdmae.labels.watershed`)."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ObjectThresholds(BaseModel):
    """Chosen on the validation images of a training, and kept with its head.

    Attributes
    ----------
    inside
        Probability from which a pixel belongs to an object.
    valley
        How much lower than both middles the way between them must be to be two objects.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    inside: float = Field(default=0.5, gt=0, lt=1)
    valley: float = Field(default=0.15, gt=0, lt=1)
