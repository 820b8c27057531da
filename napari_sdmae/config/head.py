"""What a fine-tuned head is: the content of ``config.json`` in its folder, read by the viewer without torch.

A head folder (``model/`` of a fine-tuning run) holds ``model.safetensors`` (encoder and head) and this, so that it can be
copied to another machine and used there by itself.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from napari_sdmae.config.base import Settings
from napari_sdmae.config.finetune import EncoderSpec, HeadConfig, Task
from napari_sdmae.config.limits import check_mpp
from napari_sdmae.labels.label_map import LabelClass
from napari_sdmae.labels.thresholds import ObjectThresholds
from napari_sdmae.text.printable import shown

HEAD_FORMAT = "napari-sdmae-head"


class HeadSpec(Settings):
    """A head in words and numbers.

    Attributes
    ----------
    classes
        What it tells apart. Segmentation: value 0 may be among them (background); instances: types of objects, from 1;
        classification: from 0; detection: from 1.
    tile_size
        Edge of the tiles it was trained on, px at scale `mpp`; the window of sliding prediction.
    mpp
        µm per pixel that it expects to see; None if that of its training images was not known.
    fitted_px
        Of a classifier: the shorter side in px (median) of its training images of unknown scale, which was fitted to a tile.
    thresholds
        Of instances.
    temperature
        Of classification: logits are divided by it, so that probabilities mean what they say.
    metrics
        Selected on validation, reported on test: ``{"validation": {…}, "test": {…}, "selected_by": "validation/mIoU", …}``.
    provenance
        Run, data fingerprint, encoder it began from, date.
    """

    format: Literal["napari-sdmae-head"] = "napari-sdmae-head"
    version: int = 1
    task: Task
    classes: tuple[LabelClass, ...]
    head: HeadConfig
    encoder: EncoderSpec
    tile_size: int = Field(ge=1, le=16384)
    mpp: float | None = None
    fitted_px: float | None = Field(default=None, gt=0, le=1e6)
    thresholds: ObjectThresholds = Field(default_factory=ObjectThresholds)
    temperature: float = Field(default=1.0, gt=0, le=100)
    metrics: dict[str, Any] = Field(default_factory=dict)
    provenance: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_plausible(self) -> Self:
        check_mpp(self.mpp)
        values = [one.value for one in self.classes]
        if not values or len(set(values)) < len(values):
            raise ValueError(f"classes have the values {shown(values)}; expected at least one, and each value once")
        if self.tile_size % self.encoder.patch_size:
            raise ValueError(f"tile_size {self.tile_size} is no multiple of the encoder's patch_size {self.encoder.patch_size}")
        return self
