"""Text from files and names, made safe for terminals, logs and labels."""

from __future__ import annotations

import unicodedata

KEPT = "\n\t"
UNSEEN = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode categories that move the cursor, colour the terminal, or cannot be written: control, surrogate, separators."""
TURNING = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Marks that turn the direction of writing, so that a line reads otherwise than it is."""


def printable(text: str) -> str:
    """Return `text` with whatever steers a terminal instead of being shown written out: ESC becomes ``\\x1b``.

    Line ends and tabs stay.
    """
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(letter: str) -> str:
    hidden = letter in TURNING or (letter not in KEPT and unicodedata.category(letter) in UNSEEN)
    return letter.encode("unicode_escape").decode("ascii") if hidden else letter
