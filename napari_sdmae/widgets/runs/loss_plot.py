"""The live loss plot: steps faint, epochs bold, losses on a logarithmic axis, mutual information on its own.

The plot shares the event loop with painting and zooming, and drawing it is its largest single cost. So it replaces the data of
eight line artists instead of making new ones, sets margins in numbers instead of a layout engine, keeps at most 1500 points
per curve, and draws at most twice a second, only when metrics.jsonl grew (``benchmarks/event_loop.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

REDRAW_MS = 500
HEADROOM = 1.08  # of the right axis, which begins at 0: a curve that hardly changes would lie on the upper edge
MOST_POINTS = 1500  # more than the plot has pixels, fewer than would make drawing slow
# Okabe and Ito's colours, told apart with any colour vision
CURVES = {
    "total": ("total", "#56B4E9"),
    "reconstruction": ("reconstruction", "#E69F00"),
    "distillation": ("distillation", "#009E73"),
    "mutual_information": ("information, nats →", "#CC79A7"),
}
SECOND_AXIS = "mutual_information"

Points = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class Curve:
    """One curve as (epochs, values): logged `steps`, and means over `epochs`."""

    steps: Points
    epochs: Points


def curves(records: Sequence[dict[str, Any]], names: Iterable[str] = CURVES, second: str = SECOND_AXIS) -> dict[str, Curve]:
    """Return the curves `names` in the records of metrics.jsonl; values a logarithmic axis cannot show are NaN.

    The curve `second` has the linear axis.
    """
    parts = {kind: [record for record in records if record.get("kind") == kind] for kind in ("step", "epoch")}
    parts["step"] = _thinned(parts["step"])
    return {name: Curve(*(_points(parts[kind], name, name == second) for kind in ("step", "epoch"))) for name in names}


def _thinned(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return records[:: -(-len(records) // MOST_POINTS) or 1]


def _points(records: Iterable[dict[str, Any]], name: str, linear: bool) -> Points:
    pairs = [(record.get("epoch", np.nan), record.get(name, np.nan)) for record in records]
    epochs, values = np.array(pairs, dtype=np.float64).reshape(-1, 2).T
    if not linear:
        values[~(values > 0)] = np.nan
    return epochs, values


class LossPlot(QWidget):
    """Draws the losses of one run; artists are updated in place, at most twice a second.

    Parameters
    ----------
    names
        Curve: its label and colour.
    second
        The curve that has a linear axis of its own, on the right.
    """

    def __init__(
        self, parent: QWidget | None = None, *, names: Mapping[str, tuple[str, str]] = CURVES, second: str = SECOND_AXIS
    ) -> None:
        super().__init__(parent)
        self.names, self.second = dict(names), second
        self.figure = Figure(figsize=(4, 2.6))
        self.canvas = FigureCanvasQTAgg(self.figure)
        self.canvas.setParent(self)
        self.canvas.setMinimumSize(200, 220)
        self.canvas.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.canvas)
        self.losses = self.figure.add_subplot()
        self.information = self.losses.twinx()
        self.lines = {name: self._make_lines(name) for name in self.names}
        self._waiting: Sequence[dict[str, Any]] = []
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.draw)
        self._lay_out()

    def show_records(self, records: Sequence[dict[str, Any]]) -> None:
        """Show the whole history `records`, soon."""
        self._waiting = records
        if not self._timer.isActive():
            self._timer.start(REDRAW_MS)

    def set_colours(self, background: str, foreground: str) -> None:
        """Draw in the colours of the viewer's theme."""
        self.figure.set_facecolor(background)
        for axes in (self.losses, self.information):
            axes.set_facecolor("none")
            axes.tick_params(colors=foreground, which="both")
            axes.xaxis.label.set_color(foreground)
            axes.yaxis.label.set_color(foreground)
            for spine in axes.spines.values():
                spine.set_color(foreground)
        for text in self.legend.get_texts():
            text.set_color(foreground)
        self.canvas.draw_idle()

    def _make_lines(self, name: str) -> tuple[Line2D, Line2D]:
        label, colour = self.names[name]
        axes: Axes = self.information if name == self.second else self.losses
        style = "--" if name == self.second else "-"
        faint = axes.plot([], [], color=colour, alpha=0.35, linewidth=0.8)[0]
        bold = axes.plot([], [], style, color=colour, linewidth=2.0, marker="o", markersize=3, label=label)[0]
        return faint, bold

    def _lay_out(self) -> None:
        self.losses.set_yscale("log")
        self.losses.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        self.losses.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        self.losses.yaxis.set_minor_formatter(NullFormatter())
        self.losses.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        self.information.yaxis.set_major_locator(MaxNLocator(5))
        self.information.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.2g}"))
        for axes in (self.losses, self.information):
            axes.tick_params(labelsize=8)
        self.losses.set_ylabel("loss", fontsize=8)
        self.losses.set_xlabel("epoch", fontsize=8)
        handles = [bold for _, bold in self.lines.values()]
        self.legend = self.figure.legend(handles=handles, loc="upper center", ncols=2, fontsize=7, frameon=False)
        # margins in numbers: a layout engine would measure all texts again at every redraw
        self.figure.subplots_adjust(left=0.16, right=0.85, top=0.84, bottom=0.16)

    def draw(self) -> None:
        """Draw what waits to be drawn."""
        for name, curve in curves(self._waiting, self.names, self.second).items():
            for line, points in zip(self.lines[name], (curve.steps, curve.epochs), strict=True):
                line.set_data(*points)
        for axes in (self.losses, self.information):
            axes.relim()
            axes.autoscale_view()
        self.losses.set_xlim(left=0, auto=True)  # without auto the axes would never grow again
        top = self.information.get_ylim()[1]
        self.information.set_ylim(0, HEADROOM * top, auto=True)
        self.canvas.draw_idle()
