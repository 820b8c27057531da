"""Output that never ends what prints it: its pipe may be closed, its disk full, its terminal gone.

``sdmae pretrain … | head -1``, a full disk under the log or a vanished terminal must not end a run: what cannot be written is
lost, the work goes on, and the exit status is 1 unless the reader simply had enough. Control characters are written out
(``\\x1b``): names of files, classes and models come from others and must not steer the terminal; only the progress bar does,
through ``unescaped()``. Tested with a closed pipe, ``/dev/full`` and a pseudo-terminal that closes
(``tests/cli/test_cli_streams.py``).
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from napari_sdmae.text.printable import printable

COLOUR = re.compile("(\x1b\\[[0-9;]*m)")
"""A change of the colour of letters, as the help of commands has them on a terminal."""


class SteadyStream:
    """A text stream in place of `stream`: what cannot be written is lost, and `lost` is the error.

    Letters that the stream's encoding lacks are written out as ``\\u2013``, and so is what would steer a terminal, wherever it
    comes from: names of files, classes and models. Colours stay on a terminal, where help has them. Without a stream, as of a
    program without a console, nothing is written.
    """

    def __init__(self, stream: TextIO | None, *, escape: bool = True) -> None:
        self._stream, self._escape = stream, escape
        self.lost: OSError | None = None

    def write(self, text: str) -> int:
        """Write `text` if that is still possible; return its length."""
        if self._stream is not None and self.lost is None:
            try:
                self._stream.write(self._harmless(text))
            except UnicodeEncodeError:
                encoding = self._stream.encoding or "ascii"
                self.write(text.encode(encoding, "backslashreplace").decode(encoding))
            except (OSError, ValueError) as error:  # ValueError: it was closed
                self._give_up(error)
        return len(text)

    def flush(self) -> None:
        """Write what was kept back."""
        if self._stream is not None and self.lost is None:
            try:
                self._stream.flush()
            except (OSError, ValueError) as error:
                self._give_up(error)

    def isatty(self) -> bool:
        """Return whether a person reads along."""
        return self._stream is not None and not self._stream.closed and self._stream.isatty()

    def unescaped(self) -> SteadyStream:
        """Return the stream for what steers the terminal itself, as a bar does; names in it must be made printable before."""
        return SteadyStream(self._stream, escape=False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _harmless(self, text: str) -> str:
        if not self._escape:
            return text
        if text.isprintable() or not self.isatty():
            return printable(text)
        return "".join(part if COLOUR.fullmatch(part) else printable(part) for part in COLOUR.split(text))

    def _give_up(self, error: Exception) -> None:
        """Lead all that is still written, also by the interpreter when it ends, into nothing."""
        self.lost = error if isinstance(error, OSError) else OSError(str(error))
        with suppress(OSError, ValueError, AttributeError):
            handle = os.open(os.devnull, os.O_WRONLY)
            os.dup2(handle, self._stream.fileno())  # type: ignore[union-attr]
            os.close(handle)


@contextmanager
def steady_output() -> Iterator[SteadyStream]:
    """Make stdout and stderr steady for a while; yields stdout."""
    before = sys.stdout, sys.stderr
    steady = SteadyStream(sys.stdout), SteadyStream(sys.stderr)
    sys.stdout, sys.stderr = steady
    try:
        yield steady[0]
    finally:
        for stream in steady:
            stream.flush()
        sys.stdout, sys.stderr = before
