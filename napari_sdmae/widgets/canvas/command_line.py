"""Commands as they are shown: which pixels, exactly or not at all, quoted for the shell."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from napari_sdmae.io.images.read import InvalidImageError, image_size
from napari_sdmae.widgets.canvas.layer_region import ImageRegion


class NoCommandLine(ValueError):
    """The command line cannot do what was done here; the message says why and what to do."""


def shell_line(command: Sequence[str]) -> str:
    """Return `command` quoted for the shell of this system."""
    return subprocess.list2cmdline(command) if sys.platform == "win32" else shlex.join(command)


def image_arguments(taken: ImageRegion, file: str) -> list[str]:
    """Return the arguments IMAGE, ``--region`` and ``--mpp`` with which the command line takes the pixels of `taken`.

    Parameters
    ----------
    taken
        The field.
    file
        The file its layer was read from; empty if there is none.

    Raises
    ------
    NoCommandLine
        If the command line would read other pixels.
    """
    if reason := obstacle(taken, file):
        raise NoCommandLine(f"No command: {reason}")
    (row, column), (height, width) = taken.field.origin, taken.field.size
    region = [] if taken.whole else ["--region", *map(str, (row, column, height, width))]
    mpp = [] if taken.field.mpp is None else ["--mpp", f"{taken.field.mpp:.6g}"]
    return [file, *region, *mpp]


def obstacle(taken: ImageRegion, file: str) -> str:
    """Return why a command that reads `file` would not take the pixels of `taken`, or an empty text."""
    layer: Any = taken.layer
    if taken.field.index:
        return "this is one slice of a stack, and the command line reads single pictures. Save the slice as a picture."
    if taken.field.step != 1:
        return "this is a reduced level of a pyramid. Choose a smaller part, which is read in full resolution."
    if not file:
        return "this layer was not read from a file. Save it (File > Save Selected Layers) and open that."
    if taken.picture.axis is not None and not layer.rgb:
        return "its colours lie in planes of the layer. Save it as an RGB picture and open that."
    if layer.dtype != "uint8":
        return f"the brightness range of {layer.dtype} files is read differently. Save it as an 8-bit picture."
    if _file_size(file) != taken.picture.shapes[0]:
        return f"the layer is not the whole picture in {Path(file).name}, or the command line cannot read that file."
    return ""


@lru_cache(64)
def _file_size(file: str) -> tuple[int, int] | None:
    """Return (height, width) of the picture in `file`, None if the command line cannot read it; kept, as drags ask often."""
    try:
        return image_size(Path(file))
    except (InvalidImageError, OSError):
        return None
