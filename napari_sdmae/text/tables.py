"""Tables as CSV: one way to write them, so that no text in them is run as a formula by Excel or LibreOffice.

A cell of text that begins with ``=``, ``+``, ``-``, ``@``, a tabulator or a line end gets an apostrophe before it, which
spreadsheets read as "this is text"; also behind a semicolon, where those of many countries part cells, and behind a line end.
:func:`restored` takes it away. Numbers stay as they are, also those in columns of text.

Names of classes and files come from others, and ``=cmd|' /C calc'!A0`` is a program to Excel. Attacks from the OWASP list, and
3000 random texts that come back, are tested (``tests/text/test_tables.py``).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_BEGINS = "[=+\\-@\t\r\n＝＋－＠]"
_FORMULA = re.compile(f"(^|[;\r\n])('*)(?={_BEGINS})")
_WRITTEN = re.compile(f"(^|[;\r\n])'('*)(?={_BEGINS})")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def harmless(value: Any) -> Any:
    """Return a cell as it is written: text that would be run as a formula with an apostrophe before it, all else as it is.

    Examples
    --------
    >>> harmless("=1+1"), harmless("-1.5"), harmless("tumour"), harmless(-1.5)
    ("'=1+1", '-1.5', 'tumour', -1.5)
    """
    if not isinstance(value, str) or _NUMBER.fullmatch(value):
        return value
    return _FORMULA.sub(r"\1'\2", value)


def restored(cell: str) -> str:
    """Return the text of a cell that was written by :func:`table_bytes`; the inverse of :func:`harmless`."""
    return _WRITTEN.sub(r"\1\2", cell)


def table_bytes(table: pd.DataFrame, *, mark: bool = False, digits: int | None = None) -> bytes:
    """Return `table` as CSV in UTF-8, parted by commas, lines by ``\\n``.

    Parameters
    ----------
    table
        Columns of numbers and of text; missing values become empty cells.
    mark
        Whether the file begins with the byte order mark without which Excel does not show µ.
    digits
        Significant digits of numbers; None: all.
    """
    written = table.rename(columns=harmless)
    for place, kind in enumerate(written.dtypes):
        if kind.kind not in "iufbc":
            written.isetitem(place, written.iloc[:, place].map(harmless).array)
    form = None if digits is None else f"%.{digits}g"
    text: str = written.to_csv(index=False, lineterminator="\r\n", float_format=form)
    text = text.replace("\r\n", "\n")  # cells that hold either half of a line end are quoted only where both halves end lines
    return text.encode("utf-8-sig" if mark else "utf-8")
