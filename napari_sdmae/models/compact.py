"""SD-MAE without the heads of self-distillation: all that reconstruction and attention need, to be shared in a small file."""

from __future__ import annotations

from typing import Any, NoReturn

from torch import nn

from napari_sdmae.models.sdmae import SDMAE


class MissingHead(nn.Module):
    """Stands where a head was, without weights."""

    def forward(self, *_: Any) -> NoReturn:
        """Refuse.

        Raises
        ------
        ValueError
            Always: the head is not there.
        """
        raise ValueError(
            "this model was saved without the heads of self-distillation: it encodes and reconstructs (heads=False), but "
            "self-distillation cannot go on from it; take the run folder it came from"
        )


def has_heads(model: SDMAE) -> bool:
    """Return whether the heads of self-distillation are there."""
    return not isinstance(model.student_head, MissingHead)


def strip_heads(model: SDMAE) -> None:
    """Take the heads of self-distillation away."""
    model.student_head = MissingHead()
    if model.teacher_head is not None:
        model.teacher_head = MissingHead()
