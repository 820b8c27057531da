"""What every request has in common, and the one way in which one fails."""

from __future__ import annotations

import traceback
from enum import Enum
from typing import Generic, Self, TypeVar

from napari_sdmae.data.image_folder import DataError
from napari_sdmae.data.labelled.corrections import AlreadySavedError
from napari_sdmae.text.errors import error_line

ResultT = TypeVar("ResultT")


class Request(Generic[ResultT]):
    """Work for the worker; a frozen dataclass for each kind, which names the type of its result: ``Request[LabelMap]``."""


class ErrorCode(Enum):
    """Why a request failed, for those who act on it; the words are for people."""

    INVALID = "invalid"
    """A setting, a file or a selection that cannot be used; the line says what to do."""
    UNUSABLE_DATA = "unusable data"
    """Training would refuse to start on these images."""
    ALREADY_SAVED = "already saved"
    """There is a correction of this part of the picture; ask before it is replaced."""
    OUT_OF_MEMORY = "out of memory"
    ENDED = "ended"
    """The process that computes ended."""
    UNEXPECTED = "unexpected"


class WorkerError(ValueError):
    """A request failed.

    The original exception may not survive the way between processes (one that cannot be unpickled breaks the whole executor), so
    its traceback is kept as text.

    Parameters
    ----------
    code
        Why.
    line
        Cause and what to do, in one line.
    details
        The full traceback; empty if there is no more to tell.
    """

    def __init__(self, code: ErrorCode, line: str, details: str = "") -> None:
        super().__init__(code, line, details)
        self.code = code
        self.line = line
        self.details = details

    def __str__(self) -> str:
        return self.line

    @classmethod
    def of(cls, error: BaseException) -> Self:
        """Return what `error` means: its message if it was foreseen, else also its type."""
        code = _code(error)
        return cls(code, _line(error, code), "".join(traceback.format_exception(error)))


def _code(error: BaseException) -> ErrorCode:
    if isinstance(error, MemoryError) or _on_gpu(error):
        return ErrorCode.OUT_OF_MEMORY
    if isinstance(error, AlreadySavedError):
        return ErrorCode.ALREADY_SAVED
    if isinstance(error, DataError):
        return ErrorCode.UNUSABLE_DATA
    foreseen = isinstance(error, ValueError | OSError) and str(error).strip()
    return ErrorCode.INVALID if foreseen else ErrorCode.UNEXPECTED


def _on_gpu(error: BaseException) -> bool:
    return type(error).__name__ == "OutOfMemoryError"  # torch's: this module must not import it


def _line(error: BaseException, code: ErrorCode) -> str:
    if code is ErrorCode.OUT_OF_MEMORY:
        if _on_gpu(error):
            return "the GPU has not enough free memory: choose a smaller region, or device cpu"
        return "this machine has not enough free memory: choose a smaller region or model"
    unexpected = code is ErrorCode.UNEXPECTED and str(error).strip()
    return f"{type(error).__name__}: {error_line(error)}" if unexpected else error_line(error)
