"""A picture that follows the width it is given; and the contact sheet of tiles as the model will see them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QImage, QPainter, QPaintEvent, QPixmap
from qtpy.QtWidgets import QSizePolicy, QWidget

COLUMNS = 4
GAP = 4


def contact_sheet(tiles: NDArray[np.uint8], masked: NDArray[np.uint8], columns: int = COLUMNS) -> NDArray[np.uint8]:
    """Return one RGBA picture of `tiles` (N, S, S, 3), each above its `masked` self, `columns` pairs in a row.

    Gaps are transparent.
    """
    pairs = np.concatenate([_framed(tiles), _framed(masked)], axis=1)
    missing = -len(pairs) % columns
    pairs = np.concatenate([pairs, np.zeros((missing, *pairs.shape[1:]), np.uint8)]) if missing else pairs
    rows, height, width = len(pairs) // columns, *pairs.shape[1:3]
    sheet = pairs.reshape(rows, columns, height, width, 4).transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, 4)
    return np.ascontiguousarray(sheet[:-GAP, :-GAP])


def _framed(tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
    opaque = np.concatenate([tiles, np.full((*tiles.shape[:3], 1), 255, np.uint8)], axis=3)
    return np.pad(opaque, [(0, 0), (0, GAP), (0, GAP), (0, 0)])


class Picture(QWidget):
    """Shows one picture as wide as there is room for, never stretched; takes no height while there is none."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._pixmap = QPixmap()
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)

    def show_array(self, array: NDArray[np.uint8] | None) -> None:
        """Show `array` (H, W, 4) RGBA uint8, or nothing."""
        if array is None:
            self._pixmap = QPixmap()
        else:
            height, width = array.shape[:2]
            image = QImage(array.tobytes(), width, height, 4 * width, QImage.Format.Format_RGBA8888)
            self._pixmap = QPixmap.fromImage(image.copy())
        self.setVisible(not self._pixmap.isNull())
        self.updateGeometry()
        self.update()

    @property
    def empty(self) -> bool:
        """Whether there is no picture."""
        return bool(self._pixmap.isNull())

    def hasHeightForWidth(self) -> bool:
        """Tell Qt that the height follows the width."""
        return True

    def heightForWidth(self, width: int) -> int:
        """Return the height that keeps the picture's proportions; never more than its own."""
        if self._pixmap.isNull():
            return 0
        return int(min(width, self._pixmap.width()) * self._pixmap.height() / self._pixmap.width())

    def sizeHint(self) -> QSize:
        """Return a modest size."""
        return QSize(280, self.heightForWidth(280))

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the picture, scaled smoothly."""
        if self._pixmap.isNull():
            return
        painter: Any = QPainter(self)
        ratio = self.devicePixelRatioF()
        room = QSize(round(min(self.width(), self._pixmap.width()) * ratio), round(self.height() * ratio))
        scaled = self._pixmap.scaled(room, Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation)
        scaled.setDevicePixelRatio(ratio)
        painter.drawPixmap(0, 0, scaled)
        painter.end()
