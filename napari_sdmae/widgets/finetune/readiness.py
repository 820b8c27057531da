"""What the start of fine-tuning depends on besides what that of every training does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from napari_sdmae.widgets.runs.readiness import Situation


@dataclass(frozen=True)
class FoundLabels:
    """The result of the pre-flight: usable images of each part, and how many cannot be used."""

    train: int
    validation: int
    test: int
    unusable: int


@dataclass(frozen=True, kw_only=True)
class LabelledSituation(Situation):
    """What Start depends on."""

    images: ClassVar[str] = "labelled images"
    model_problem: str = ""
    found: FoundLabels | None = None
    no_source: str = "Choose labelled images."

    def source_problem(self, source: Path) -> str:
        """Return why there are no labelled images to read, or no model to begin with, in words."""
        return super().source_problem(source) or self.model_problem

    def found_problem(self) -> str | None:
        """Return why the labelled images found are not enough."""
        if self.found is None:
            return None
        if self.found.train == 0:
            return "No image is left to train on. Lower the fractions for validation and test (More settings, Labels)."
        return ""
