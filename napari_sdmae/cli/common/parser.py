"""Command-line arguments to settings, and errors on one line: what came, what was expected, what to do."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from itertools import groupby
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from napari_sdmae.text.printable import printable

T = TypeVar("T", bound=BaseModel)

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
        raise UsageError(f"{one_line(complaint.getvalue())}; see {prog} --help") from None


def one_line(box: str) -> str:
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


def explain(error: Exception) -> str:
    """Return the message of `error` on one line, safe for a terminal; for settings, with the name of each field."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return printable(f"{error.filename}: {error.strerror}")
    if not isinstance(error, ValidationError):
        return printable(" ".join(str(error).split())) or type(error).__name__
    return printable("; ".join(_explain_field(dict(item)) for item in error.errors()))


def _explain_field(item: dict[str, Any]) -> str:
    name = ".".join(str(part) for part in item["loc"])
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        message = "there is no such setting"
    came = "" if isinstance(item["input"], dict) else f" (got {item['input']!r})"
    return f"{name}: {message}{came}" if name else message


def refuse(prog: str, message: str) -> int:
    """Print one line that says what is wrong; return the exit status of bad usage."""
    print(f"{prog}: {message}", file=sys.stderr)
    return 2
