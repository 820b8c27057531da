"""Command-line arguments to settings, and errors on one line: what came, what was expected, what to do."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from itertools import groupby
from typing import TypeVar, cast

from pydantic import BaseModel

from napari_sdmae.text.errors import error_line

T = TypeVar("T", bound=BaseModel)

FAILED, BAD_USAGE, UNUSABLE_DATA = 1, 2, 3
"""Exit statuses of all commands: a failure of the machine or a file in use, a wrong command line or file, unusable data."""
FORESEEN = (ValueError, RuntimeError, OSError, MemoryError)
"""Errors that end a command in one line; others are faults of this program and come with their traceback."""

FRAME = "╭╮╰╯│─ "


class UsageError(ValueError):
    """The command line or the settings are wrong (exit status 2); the message is one line for the user."""


def parse(model: type[T], arguments: list[str], *, prog: str, description: str, default: T | None = None) -> T:
    """Return `model` with the flags `arguments` laid over `default`.

    Raises
    ------
    UsageError
        If a flag is unknown, a value is missing, not of its type or out of bounds.
    SystemExit
        With status 0 after ``--help``.
    """
    import tyro

    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return cast(T, tyro.cli(model, default=default, args=arguments, prog=prog, description=description))
    except SystemExit as end:
        if not end.code:
            raise
        raise UsageError(f"{_first_section(complaint.getvalue())}; see {prog} --help") from None


def _first_section(box: str) -> str:
    """Return the first section of tyro's framed message as one line, with the first flag it suggests.

    The frame is drawn in lines or, where the terminal knows no UTF-8, in dashes.
    """
    lines = [line.strip(FRAME) for line in box.splitlines()][1:]
    sections = [list(group) for ruler, group in groupby(lines, lambda line: not line.strip("-")) if not ruler]
    suggestions = [section[1].split()[0] for section in sections if section[0] == "Perhaps you meant:"]
    return clean(" ".join(sections[0])) + (f"; did you mean {suggestions[0]}?" if suggestions else "")


def clean(text: str) -> str:
    """Return tyro's and pydantic's words without what only programmers read."""
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r"\[type=\w+, input_value=(.*?), input_type=\w+\]", lambda found: _came(found[1]), text)
    text = re.sub(r"For further information visit \S+", "", text)
    text = re.sub(r"Error parsing (\w+): \d+ validation errors? for \w+", r"\1:", text)
    return re.sub(r"\s+", " ", text.replace("Value error, ", "")).strip()


def _came(value: str) -> str:
    """Return the value that came, unless it is a whole group of settings."""
    return "" if value.startswith(("{", "<")) else f"(got {value})"


def refuse(prog: str, message: str) -> int:
    """Print one line that says what is wrong; return the exit status of bad usage."""
    print(f"{prog}: {message}", file=sys.stderr)
    return BAD_USAGE


def complain(prog: str, error: BaseException) -> int:
    """Print `error` on one line; return the exit status that it means."""
    print(f"{prog}: {error_line(error)}", file=sys.stderr)
    return exit_status(error)


def exit_status(error: BaseException, started: bool = False) -> int:
    """Return :data:`UNUSABLE_DATA`, :data:`BAD_USAGE`, or :data:`FAILED` for all else, and for usage once a job `started`."""
    from napari_sdmae.data.listing import DataError, TileCacheError
    from napari_sdmae.io.images.field import InvalidFieldError
    from napari_sdmae.io.images.read import InvalidImageError

    if isinstance(error, TileCacheError):
        return FAILED
    if isinstance(error, DataError | InvalidFieldError | InvalidImageError):
        return UNUSABLE_DATA
    usage = isinstance(error, ValueError | FileNotFoundError | FileExistsError) and not started
    return BAD_USAGE if usage else FAILED
