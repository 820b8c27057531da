"""A head folder that segments as strokes did: encoder, linear decoder, classes, scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from napari_sdmae.config.finetune import EncoderConfig, FinetuneConfig, HeadConfig
from napari_sdmae.inference.scribbles.samples import ScribbleHead
from napari_sdmae.io.atomic import atomic_path, check_free
from napari_sdmae.io.checkpoints.head_folder import save_head
from napari_sdmae.io.checkpoints.new_head import new_head
from napari_sdmae.labels.label_map import LabelClass
from napari_sdmae.models.heads.head_model import HeadModel


def save_scribble_head(
    folder: Path, model: str, head: ScribbleHead, classes: Sequence[LabelClass], provenance: Mapping[str, Any]
) -> None:
    """Write `head` with the encoder of `model` to `folder`, which must not exist, or be empty.

    Parameters
    ----------
    model
        The model whose tokens the head was fitted to.
    classes
        Those of the head, among others.
    provenance
        Kept with it, as values that JSON knows.

    Raises
    ------
    FileExistsError
        If the folder is not empty.
    ValueError
        If model and head do not fit.
    """
    check_free(folder, overwrite=False, folder=True)
    chosen = {one.value: one for one in classes}
    settings = FinetuneConfig(
        task="segmentation",
        data=folder,
        model=model,
        encoder=EncoderConfig(train="frozen", drop_path=0.0),
        head=HeadConfig(decoder="linear"),
    )
    made = new_head(settings, tuple(chosen[value] for value in head.values))
    _copy_weights(head, made, model)
    about = {**made.spec.provenance, "made_by": "scribbles", **provenance}
    made.spec = made.spec.model_copy(update={"mpp": head.mpp, "provenance": about})
    with atomic_path(folder, folder=True) as temporary:
        save_head(temporary, made)


def _copy_weights(head: ScribbleHead, made: HeadModel, model: str) -> None:
    classifier = made.head.classifier
    assert isinstance(classifier, torch.nn.Conv2d)
    weight = torch.from_numpy(head.linear.weight.copy())[:, :, None, None]
    if weight.shape != classifier.weight.shape:
        raise ValueError(f"the head has {weight.shape[1]} weights per class, which is not the width of {model}; segment again")
    assert classifier.bias is not None
    with torch.no_grad():
        classifier.weight.copy_(weight)
        classifier.bias.copy_(torch.from_numpy(head.linear.bias.copy()))
