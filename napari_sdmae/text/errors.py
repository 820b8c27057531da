"""Errors on one line, in the same words on the command line, in the docks and in run folders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from napari_sdmae.text.printable import printable, shown

SELF_EXPLAINING = ("value_error", "missing", "extra_forbidden")
"""Kinds of problems whose message names what came, or where nothing came."""


def error_line(error: BaseException) -> str:
    """Return the message of `error` on one line, safe for a terminal.

    Errors of the disk name the file, those of settings each field; one without a message gives its type.
    """
    if isinstance(error, OSError) and error.strerror and error.filename:
        return printable(f"{error.filename}: {error.strerror}")
    if isinstance(error, ValidationError):
        return "; ".join(problem_line(item) for item in error.errors(include_url=False))
    return printable(" ".join(str(error).split())) or _unspoken(error)


def first_problem(error: ValidationError, *within: str) -> str:
    """Return the first thing that settings (`within` others) were refused for, in a few words: where, what, and what came."""
    return problem_line(error.errors(include_url=False)[0], *within)


def problem_line(item: Mapping[str, Any], *within: str, name: str = "") -> str:
    """Return one of the problems that pydantic found, as "where: what, got what came".

    Parameters
    ----------
    item
        Of ``ValidationError.errors()``.
    within
        Names of the settings around it.
    name
        Stands for the place, where people know the setting by another name.
    """
    place = name or ".".join(shown(str(part)) for part in (*within, *item["loc"]))
    message = " ".join(item["msg"].removeprefix("Value error, ").split())
    if item["type"] == "extra_forbidden":
        message = "there is no such setting"
    value = repr(item["input"]) if isinstance(item["input"], str) else item["input"]
    came = "" if item["type"] in SELF_EXPLAINING else f", got {shown(value)}"
    return printable(f"{place}: {message}{came}" if place else f"{message}{came}")


def _unspoken(error: BaseException) -> str:
    return "this machine has not enough free memory" if isinstance(error, MemoryError) else type(error).__name__
