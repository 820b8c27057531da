"""What the start of pre-training depends on besides what that of every training does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from napari_sdmae.humanize import several
from napari_sdmae.widgets.runs.readiness import Situation


@dataclass(frozen=True)
class Found:
    """The result of the pre-flight: images that can be used, files that cannot, tiles left after the tissue filter."""

    images: int
    unusable: int
    tiles: int


@dataclass(frozen=True, kw_only=True)
class ImagesSituation(Situation):
    """What Start depends on."""

    found: Found | None = None
    max_unusable: float = 0.1
    no_source: str = "Choose a folder of images."

    def source_problem(self, source: Path) -> str:
        """Return why there is no folder to read, in words."""
        return "" if source.is_dir() else f"The folder {source} does not exist. Choose another."

    def found_problem(self) -> str | None:
        """Return why the images found are not enough."""
        found = self.found
        if found is None:
            return None
        files = found.images + found.unusable
        if files == 0:
            return "No images in this folder (PNG, JPEG, TIFF, BMP). Choose another."
        if found.unusable > self.max_unusable * files:
            return (
                f"{found.unusable:,} of {several(files, 'file', 'files')} cannot be used, more than the "
                f"{self.max_unusable:.0%} allowed. "
                'Take them out of the folder, or raise "Unusable files allowed" (More settings, Tiles).'
            )
        if found.tiles == 0:
            return 'No tile shows enough tissue. Lower "Least tissue", or switch off "Leave out background".'
        return ""
