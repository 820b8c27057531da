"""Questions of the viewer, answered in a warm child process.

This module imports no torch: the viewer imports :func:`answer` to send it to the child, where the heavy imports happen.
Questions and answers are dictionaries of plain values and NumPy arrays, described in :mod:`napari_sdmae.worker.handlers.views`
and :mod:`napari_sdmae.worker.handlers.preflight`.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from importlib import import_module
from typing import Any

from pydantic import ValidationError

HOMES = {
    "scribble": "scribbles",
    "save_scribbles": "scribbles",
    "inspect": "preflight",
    "inspect_labelled": "preflight",
    "training_memory": "preflight",
    "head_info": "segment",
    "segment": "segment",
    "measure": "segment",
    "export_labels": "labels",
    "import_labels": "labels",
    "save_corrections": "labels",
}
"""Modules of :mod:`napari_sdmae.worker.handlers` that answer without loading torch, or load it late; the others are in views."""
KINDS = ("info", "devices", "reconstruct", "attention", *HOMES, "contact_sheet", "release")

NICENESS = 5
"""The worker yields to the viewer, and a job that is nicer yields to both."""


class QueryError(ValueError):
    """A question could not be answered.

    ``str(error)`` is one line of cause and what to do. The original exception may not survive the way between processes
    (one that cannot be unpickled breaks the whole executor), so its traceback is kept as text.

    Parameters
    ----------
    line
        Cause and what to do.
    details
        The full traceback.
    """

    def __init__(self, line: str, details: str) -> None:
        super().__init__(line, details)
        self.line = line
        self.details = details

    def __str__(self) -> str:
        return self.line


def prepare_worker() -> None:
    """Make this process yield to the viewer; the initializer of the child, never called in the viewer itself."""
    if hasattr(os, "nice"):
        os.nice(NICENESS)


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Answer `question`, whose ``"kind"`` is one of :data:`KINDS`.

    Raises
    ------
    QueryError
        Whatever goes wrong.
    """
    try:
        kind = question.get("kind")
        if kind not in KINDS:
            raise ValueError(f"no question of kind {kind!r}; there are: {', '.join(KINDS)}")
        module = import_module(f"napari_sdmae.worker.handlers.{HOMES.get(kind, 'views')}")
        reply: Callable[..., dict[str, Any]] = getattr(module, kind)
        return {"kind": kind, "warnings": [], **reply(**{key: value for key, value in question.items() if key != "kind"})}
    except Exception as error:
        raise QueryError(_one_line(error), traceback.format_exc()) from None


def _one_line(error: Exception) -> str:
    """Return cause and what to do: the message of an error that was foreseen, else also its type."""
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, part['loc']))}: {part['msg']}" for part in error.errors())
    text = " ".join(str(error).split())
    if type(error).__name__ == "OutOfMemoryError":
        return "the GPU has not enough free memory: choose a smaller region, or device cpu"
    if isinstance(error, MemoryError):
        return "this machine has not enough free memory: choose a smaller region or model"
    foreseen = isinstance(error, ValueError | OSError) and text
    return text if foreseen else f"{type(error).__name__}: {text}".rstrip(": ")
