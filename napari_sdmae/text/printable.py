"""Text from files and names, made safe for terminals, logs and labels."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

KEPT = "\n\t"
UNSEEN = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode categories that move the cursor, colour the terminal, or cannot be written: control, surrogate, separators."""
TURNING = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Marks that turn the direction of writing, so that a line reads otherwise than it is."""


def printable(text: str) -> str:
    """Return `text` with whatever steers a terminal instead of being shown written out: ESC becomes ``\\x1b``.

    Line ends and tabs stay.
    """
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(letter: str) -> str:
    hidden = letter in TURNING or (letter not in KEPT and unicodedata.category(letter) in UNSEEN)
    return letter.encode("unicode_escape").decode("ascii") if hidden else letter


def shown(value: Any, longest: int = 60) -> str:
    """Return a value of a file as it may stand in a message: short, and without control characters."""
    text = "".join(letter if letter.isprintable() else "�" for letter in (value if isinstance(value, str) else _plain(value)))
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _plain(value: Any) -> str:
    """Return small values as Python writes them, large ones by their kind: they may be deep, or refer to themselves."""
    if isinstance(value, list | tuple) and len(value) <= 4 and all(isinstance(one, int | float | str) for one in value):
        return repr(value)
    return f"a {type(value).__name__}" if isinstance(value, Mapping | Sequence) else repr(value)
