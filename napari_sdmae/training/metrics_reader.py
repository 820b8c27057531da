"""Follows metrics.jsonl of a run while it grows. Imports no torch."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from napari_sdmae.documents import parse_json


class MetricsReader:
    """Follows metrics.jsonl as it grows: `records` is always the whole list.

    A last line that is only half-written is left for the next :meth:`update`. When a resumed job has cut the
    file, reading starts again from its beginning.
    """

    def __init__(self, path: Path) -> None:
        self.records: list[dict[str, Any]] = []
        self._path = path
        self._offset = 0
        self._inode = 0

    def update(self) -> bool:
        """Read what is new; return whether `records` changed."""
        try:
            with self._path.open("rb") as file:
                stat = os.fstat(file.fileno())
                restarted = self._offset > 0 and (stat.st_ino != self._inode or stat.st_size < self._offset)
                if restarted:
                    self.records, self._offset = [], 0
                self._inode = stat.st_ino
                file.seek(self._offset)
                text = file.read()
        except FileNotFoundError:
            return False
        complete = text[: text.rfind(b"\n") + 1]
        self._offset += len(complete)
        self.records.extend(_parsed(complete.splitlines()))
        return restarted or bool(complete)


def _parsed(lines: Iterable[bytes]) -> Iterable[dict[str, Any]]:
    """Yield the records; a line damaged by a crash is left out."""
    for line in lines:
        try:
            yield parse_json(line)
        except ValueError:
            continue
