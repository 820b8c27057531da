"""Follows metrics.jsonl of a run while it grows. Imports no torch."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from napari_sdmae.io.regular_files import IrregularFileError, open_regular
from napari_sdmae.text.documents import DocumentError, parse_json

LARGEST = 2_000_000_000
"""Bytes of metrics.jsonl that are followed: years of logging."""
AT_ONCE = 50_000_000
LONGEST = 100_000
"""Bytes of a line that is read; those written here have hundreds."""


class MetricsReader:
    """Follows metrics.jsonl as it grows: `records` is always the whole list.

    What is no record is left out, and a last line that is only half-written is left for the next :meth:`update`. When a
    resumed job has cut the file, reading starts again from its beginning.
    """

    def __init__(self, path: Path) -> None:
        self.records: list[dict[str, Any]] = []
        self._path = path
        self._offset = 0
        self._inode = 0

    def update(self) -> bool:
        """Read what is new, of a large file a part; return whether `records` changed. OSError if it cannot be read."""
        try:
            with os.fdopen(open_regular(self._path, os.O_RDONLY), "rb") as file:
                stat = os.fstat(file.fileno())
                restarted = self._offset > 0 and (stat.st_ino != self._inode or stat.st_size < self._offset)
                if restarted:
                    self.records, self._offset = [], 0
                self._inode = stat.st_ino
                file.seek(self._offset)
                text = file.read(max(0, min(AT_ONCE, LARGEST - self._offset)))
        except (FileNotFoundError, NotADirectoryError, IrregularFileError):
            return False
        complete = text[: text.rfind(b"\n") + 1] if len(text) < AT_ONCE or b"\n" in text else text
        self._offset += len(complete)
        self.records.extend(_parsed(complete.splitlines()))
        return restarted or bool(complete)


def _parsed(lines: Iterable[bytes]) -> Iterable[dict[str, Any]]:
    """Yield the records; a line damaged by a crash, or written by anybody else, is left out."""
    for line in lines:
        try:
            values = parse_json(line) if len(line) < LONGEST else None
        except DocumentError:
            continue
        if isinstance(values, dict) and (record := _record(values)) is not None:
            yield record


def _record(values: dict[str, Any]) -> dict[str, Any] | None:
    """Return the numbers of one step or epoch, None if it is neither."""
    numbers = {name: value for name, value in values.items() if isinstance(value, float) or _is_small(value)}
    if values.get("kind") not in ("step", "epoch") or not _is_small(numbers.get("step")):
        return None
    return {"kind": values["kind"], **numbers}


def _is_small(value: Any) -> bool:
    """Return whether `value` is an integer that a float can hold."""
    return isinstance(value, int) and abs(value) < 2**63
