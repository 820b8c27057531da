"""Pictures in rows and columns, as the previews of a run are saved."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GAP = 4
"""White pixels between the pictures."""


def sheet(columns: Sequence[NDArray[np.uint8]]) -> bytes:
    """Return a PNG of pictures side by side: each of `columns` holds one picture per row, uint8 (N, S, S, 3)."""
    padded = [np.pad(column, ((0, 0), (0, GAP), (0, GAP), (0, 0)), constant_values=255) for column in columns]
    rows = np.concatenate(padded, axis=2)
    buffer = io.BytesIO()
    Image.fromarray(rows.reshape(-1, *rows.shape[2:])[:-GAP, :-GAP]).save(buffer, "PNG")
    return buffer.getvalue()
