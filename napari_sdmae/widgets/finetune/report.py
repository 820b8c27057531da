"""What a fine-tuning run reports: numbers by name and class, and in words which images they come from.

The number that selected an epoch is too good by having selected it. So the report first states by which number, on how many
validation images of how many slides, the epoch was *selected*, then on which images it was *tested, once*, or that it was not.
The confusion matrix shows shares of each true class, as counts hide rare ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_sdmae.humanize import plain, several
from napari_sdmae.runs.folder import RunFolder

Rows = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Report:
    """What is to be shown of a run's numbers.

    Attributes
    ----------
    words
        What selected the head, what it was tested on, and the numbers of all classes together.
    rows
        Class name: number by name.
    rows_of
        Which images `rows` come from.
    classes, confusion
        Names, and how often each class (row) was taken for each (column); None where that means nothing.
    warnings
        What must be known to judge the numbers.
    """

    words: str = ""
    rows: Rows = field(default_factory=dict)
    rows_of: str = ""
    classes: tuple[str, ...] = ()
    confusion: list[list[float]] | None = None
    warnings: tuple[str, ...] = ()


def read_report(run: Path) -> Report | None:
    """Return the report of the run in `run`, None while it has none, or one that cannot be read yet."""
    try:
        return report_of(RunFolder(run).read_report())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def report_of(content: dict[str, Any]) -> Report:
    """Return what is to be shown of the content of a report.json."""
    part = content.get("reported_on")
    return Report(
        f"{_selection(content)}\n{_test(content)}",
        {name: numbers(row) for name, row in content["per_class"].items()} if part else {},
        f"{part} images" if part else "",
        tuple(str(one["name"]) for one in content["classes"]),
        content["confusion"] or None,
        tuple(str(line) for line in content["warnings"]),
    )


def _selection(content: dict[str, Any]) -> str:
    selected, validation = content["selected"], numbers(content["validation"])
    if not selected["by"] or selected["value"] is None:
        return f"Kept: epoch {selected['epoch']}, the last. There were no validation images to select by."
    by = str(selected["by"]).removeprefix("validation/")
    others = listed({name: value for name, value in validation.items() if name != by})
    kept = (
        f"Kept: epoch {selected['epoch']}, selected by {plain(by)} {selected['value']:.3f} on {_how_many(content, 'validation')}"
    )
    return f"{kept} ({others})." if others else f"{kept}."


def _test(content: dict[str, Any]) -> str:
    test = numbers(content["test"])
    if test:
        return f"Tested once on {_how_many(content, 'test')}, unused until then: {listed(test)}."
    if content["images"]["test"]:
        return "Not tested: the run ended before its last epoch."
    return "Not tested: there were no test images, so the accuracy on other images is unknown."


def _how_many(content: dict[str, Any], part: str) -> str:
    images, groups = content["images"][part], content["groups"][part]
    of = f" of {several(groups, 'slide or patient', 'slides or patients')}" if groups else ""
    return several(images, f"{part} image", f"{part} images") + of


def numbers(values: Any) -> dict[str, float]:
    """Return the numbers in `values`, of which there may be none."""
    return {str(name): float(value) for name, value in (values or {}).items()}


def listed(values: dict[str, float]) -> str:
    """Return numbers as people read them."""
    return ", ".join(f"{plain(name)} {value:.3f}" for name, value in values.items())


def live_rows(records: Sequence[dict[str, Any]]) -> Rows:
    """Return the latest validation numbers in records of metrics.jsonl, of all classes together."""
    measured = (record for record in reversed(records) if any(name.startswith("validation/") for name in record))
    latest: dict[str, Any] = next(measured, {})
    row = {name.removeprefix("validation/"): float(value) for name, value in latest.items() if name.startswith("validation/")}
    return {f"epoch {latest['epoch']:g}": row} if row else {}
