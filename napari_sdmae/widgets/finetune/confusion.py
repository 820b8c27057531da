"""The confusion matrix of a head: which class was taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

MOST_NUMBERS = 8  # classes up to which there is room for a number in each cell
LONGEST = 12  # letters of a class name


def row_shares(confusion: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return what share of each true class (row) was taken for each class (column); a class that did not occur is NaN."""
    total = confusion.sum(axis=1, keepdims=True, dtype=np.float64)
    return np.asarray(np.divide(confusion, total, out=np.full(confusion.shape, np.nan), where=total > 0), np.float64)


class ConfusionMatrix(QWidget):
    """Draws a confusion matrix with the share of each true class in every cell."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.figure = Figure(figsize=(4, 3.4))
        self.canvas = FigureCanvasQTAgg(self.figure)
        self.canvas.setParent(self)
        self.canvas.setMinimumSize(200, 270)
        self.canvas.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.axes = self.figure.add_subplot()
        self._colours = ("#ffffff", "#000000")
        self._shown: tuple[NDArray[np.float64], list[str]] | None = None
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.canvas)
        self.hide()

    def show_matrix(self, confusion: Sequence[Sequence[float]] | None, classes: Sequence[str]) -> None:
        """Show `confusion` (true class × class taken), or hide where there is none."""
        self._shown = (np.asarray(confusion, np.float64), list(classes)) if confusion and classes else None
        self.setVisible(self._shown is not None)
        self._draw()

    def set_colours(self, background: str, foreground: str) -> None:
        """Draw in the colours of the viewer's theme."""
        self._colours = (background, foreground)
        self._draw()

    def _draw(self) -> None:
        background, foreground = self._colours
        self.figure.set_facecolor(background)
        self.axes.clear()
        if self._shown is not None:
            self._draw_matrix(*self._shown, foreground)
        self.canvas.draw_idle()

    def _draw_matrix(self, confusion: NDArray[np.float64], classes: list[str], foreground: str) -> None:
        shares = row_shares(confusion)
        self.axes.imshow(np.nan_to_num(shares), cmap="cividis", vmin=0, vmax=1)
        names = [name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…" for name in classes]
        size = 8 if len(classes) <= MOST_NUMBERS else 6
        self.axes.set_xticks(range(len(classes)), names, rotation=35, ha="right", rotation_mode="anchor", fontsize=size)
        self.axes.set_yticks(range(len(classes)), names, fontsize=size)
        self.axes.tick_params(colors=foreground, length=0)
        self.axes.set_xlabel("predicted", fontsize=8, color=foreground)
        self.axes.set_ylabel("is", fontsize=8, color=foreground)
        for spine in self.axes.spines.values():
            spine.set_visible(False)
        if len(classes) <= MOST_NUMBERS:
            for (row, column), share in np.ndenumerate(shares):
                text = "–" if np.isnan(share) else f"{share:.0%}"
                colour = "black" if share > 0.55 else "white"
                self.axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
        longest = max(map(len, names))
        self.figure.subplots_adjust(
            left=min(0.12 + 0.022 * longest, 0.4), right=0.97, top=0.97, bottom=min(0.14 + 0.02 * longest, 0.4)
        )
