"""What a head is, read from its folder without importing torch, so that the viewer can show it."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from napari_sdmae.config.head import HeadSpec
from napari_sdmae.io.model_info.checks import check_outputs
from napari_sdmae.io.model_info.info import CONFIG, WEIGHTS, find_model, is_head, read_config
from napari_sdmae.text.errors import first_problem

__all__ = ["is_head", "read_head_spec"]


def read_head_spec(head: str | Path) -> HeadSpec:
    """Return the specification of a head.

    Parameters
    ----------
    head
        Fine-tuning run folder or head folder.

    Raises
    ------
    FileNotFoundError
        If there is none, or the run has not saved one yet.
    ValueError
        If it is a model without a head, or cannot be read; in one line.
    """
    folder = find_model(head)
    config = read_config(folder)
    if not is_head(config):
        raise ValueError(f"{head} is a pre-trained model without a head; fine-tune one first (sdmae finetune --model {head} …)")
    try:
        spec = HeadSpec.model_validate(config)
    except ValidationError as error:
        raise ValueError(f"{folder / CONFIG} is no head that this program knows ({first_problem(error)}); update it") from error
    try:
        check_outputs(folder / WEIGHTS, spec.task, len(spec.classes))
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG}: {error}") from error
    return spec
