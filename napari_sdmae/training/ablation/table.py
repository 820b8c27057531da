"""Results of an ablation side by side: all of them as CSV, mean ± standard error and paired differences as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan, sqrt
from pathlib import Path

import numpy as np
import pandas as pd

from napari_sdmae.config.ablation import Cell
from napari_sdmae.io.atomic import write_atomically
from napari_sdmae.runs.folder import RunFolder
from napari_sdmae.text.tables import table_bytes


@dataclass(frozen=True)
class Result:
    """What one cell reached with one seed.

    Attributes
    ----------
    part
        The images it was measured on: test, or validation where there are no test images; empty if neither.
    by
        The metric that selected the epoch; the one compared in the table.
    metrics
        All metrics of that part.
    """

    cell: Cell
    seed: int
    part: str
    by: str
    metrics: Mapping[str, float]

    @property
    def value(self) -> float:
        """The metric compared; NaN if it could not be measured."""
        return self.metrics.get(self.by, nan)


@dataclass(frozen=True)
class Comparison:
    """A cell over its seeds: mean and standard error, and the same of the differences to the first cell, seed by seed.

    Standard errors are NaN with one seed, differences where no seed is shared.
    """

    cell: Cell
    seeds: int
    mean: float
    error: float
    pairs: int
    difference: float
    difference_error: float


def read_result(cell: Cell, seed: int, head: RunFolder) -> Result:
    """Read the report of a finished evaluation."""
    report = head.read_report()
    part = report["reported_on"] or ""
    by = (report["selected"]["by"] or "").removeprefix("validation/")
    found = report[part] if part else {}
    return Result(
        cell, seed, part, by or next(iter(found), ""), {name: value for name, value in found.items() if value is not None}
    )


def compare(results: Sequence[Result]) -> list[Comparison]:
    """Return each cell over its seeds, in the order of `results`."""
    cells = list(dict.fromkeys(result.cell for result in results))
    values = {cell: {one.seed: one.value for one in results if one.cell == cell} for cell in cells}
    first = values[cells[0]] if cells else {}
    compared = []
    for cell in cells:
        own = values[cell]
        mean, error = mean_and_error(list(own.values()))
        pairs = [own[seed] - first[seed] for seed in own if seed in first]
        difference, difference_error = mean_and_error(pairs)
        compared.append(Comparison(cell, len(own), mean, error, len(pairs), difference, difference_error))
    return compared


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean, NaN of nothing, and its standard error (unbiased deviation / √n), NaN of less than two values."""
    if not values:
        return nan, nan
    return float(np.mean(values)), float(np.std(values, ddof=1)) / sqrt(len(values)) if len(values) > 1 else nan


def write_tables(results: Sequence[Result], output: Path) -> None:
    """Write results.csv and results.md; nothing if there are no results."""
    if results:
        write_atomically(output / "results.csv", _csv(results))
        write_atomically(output / "results.md", _markdown(results).encode())


def _csv(results: Sequence[Result]) -> bytes:
    settings = list(dict.fromkeys(key for result in results for key, _ in result.cell.values))
    metrics = list(dict.fromkeys(name for result in results for name in result.metrics))
    rows = []
    for one in results:
        values = dict(one.cell.values)
        measured = [one.metrics.get(name, "") for name in metrics]
        rows.append([one.cell.name, *(values.get(key, "") for key in settings), one.seed, one.part, one.by, *measured])
    columns = ["cell", *settings, "seed", "part", "compared_by", *metrics]
    return table_bytes(pd.DataFrame(rows, columns=columns, dtype=object))


def _markdown(results: Sequence[Result]) -> str:
    first = results[0]
    lines = [
        f"Compared by {first.by or 'nothing'} on the {first.part or 'no'} images: mean ± standard error over the seeds; "
        f"the difference is taken seed by seed to *{first.cell.name}*.",
        "",
        "| cell | seeds | value | difference |",
        "|---|---|---|---|",
    ]
    for one in compare(results):
        difference = "" if one.cell == first.cell else _measured(one.difference, one.difference_error, "+.4f")
        lines.append(f"| {one.cell.name} | {one.seeds} | {_measured(one.mean, one.error, '.4f')} | {difference} |")
    parts = {result.part for result in results}
    if len(parts) > 1:
        lines += ["", f"Not all were measured on the same part: {', '.join(sorted(part or 'none' for part in parts))}."]
    return "\n".join(lines) + "\n"


def _measured(value: float, error: float, form: str) -> str:
    if np.isnan(value):
        return "–"
    return f"{value:{form}}" + ("" if np.isnan(error) else f" ± {error:.4f}")
