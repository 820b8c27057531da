"""Results of an ablation as a picture, by matplotlib of the napari extra; without it the tables are written alone."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_sdmae.io.atomic import write_atomically
from napari_sdmae.training.ablation.table import Comparison, Result, compare

NO_MATPLOTLIB = "no plot, as matplotlib is not installed: pip install matplotlib, then start again (finished cells are kept)"


def draw_results(results: Sequence[Result], output: Path) -> str:
    """Draw results.png and results.svg; return a line that says where they are, or how to get them.

    A setting with several numbers is the horizontal axis, with a line for each combination of the others; else each cell is a
    row. Points are means, bars standard errors over the seeds.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return NO_MATPLOTLIB
    compared = compare(results)
    figure = Figure(figsize=(7, max(3.5, 0.35 * len(compared) + 1.5)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    label = f"{results[0].by}, {results[0].part} images"
    axis = number_axis(compared)
    if axis is None:
        _draw_rows(axes, compared, label)
    else:
        _draw_lines(axes, compared, axis, label)
    for ending in ("png", "svg"):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=ending, dpi=150)
        write_atomically(output / f"results.{ending}", buffer.getvalue())
    return f"plot: {output / 'results.png'}"


def number_axis(compared: Sequence[Comparison]) -> str | None:
    """Return the first setting that takes several values, all of them numbers; None if there is none."""
    values = defaultdict(set)
    for one in compared:
        for key, value in one.cell.values:
            values[key].add(value)
    numbers = (key for key, found in values.items() if len(found) > 1 and all(_is_number(value) for value in found))
    return next(numbers, None)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _draw_lines(axes: Any, compared: Sequence[Comparison], axis: str, label: str) -> None:
    lines: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    for one in compared:
        values = dict(one.cell.values)
        if axis in values:
            others = ", ".join(f"{key} {value}" for key, value in values.items() if key != axis)
            lines[others].append((values[axis], one.mean, _bar(one.error)))
        else:
            axes.axhline(one.mean, linestyle="--", color="0.5", label=one.cell.name)
    for others, points in lines.items():
        x, mean, error = zip(*sorted(points), strict=True)
        axes.errorbar(x, mean, yerr=error, marker="o", capsize=3, label=others or None)
    axes.set(xlabel=axis, ylabel=label)
    if len(lines) > 1 or axes.get_legend_handles_labels()[1]:
        axes.legend()


def _draw_rows(axes: Any, compared: Sequence[Comparison], label: str) -> None:
    rows = np.arange(len(compared))
    errors = [_bar(one.error) for one in compared]
    axes.errorbar([one.mean for one in compared], rows, xerr=errors, marker="o", linestyle="none", capsize=3)
    axes.set_yticks(rows, [one.cell.name for one in compared])
    axes.set(xlabel=label, ylim=(len(compared) - 0.5, -0.5))


def _bar(error: float) -> float:
    return 0.0 if np.isnan(error) else error
