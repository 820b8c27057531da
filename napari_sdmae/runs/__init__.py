"""The run folder: the only thing that a job and those who watch it share. No torch."""

from napari_sdmae.runs.folder import RunFolder
from napari_sdmae.runs.run_list import list_runs

__all__ = ["RunFolder", "list_runs"]
