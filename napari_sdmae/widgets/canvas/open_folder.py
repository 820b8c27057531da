"""File > IO Utilities > Open folder of labels, OME-Zarr or run…: what no reader can open, as none takes folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import napari
from napari.layers import Layer
from napari.utils.notifications import show_error
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_sdmae.contributions.readers import STATUS, read_folder, read_run
from napari_sdmae.layers.base import LayerData
from napari_sdmae.widgets.base.preferences import output_folder, remember, remembered
from napari_sdmae.widgets.canvas.show_layers import add_layer

LAST = "open.folder"


def open_folder(viewer: napari.Viewer) -> None:
    """Let a person choose a folder, and show the labels or the run in it."""
    start = remembered(LAST, "") or str(output_folder())
    chosen = QFileDialog.getExistingDirectory(QApplication.activeWindow(), "Open a folder of labels, an OME-Zarr or a run", start)
    if not chosen:
        return
    remember(LAST, str(Path(chosen).parent))
    try:
        show_folder(viewer, Path(chosen))
    except (OSError, ValueError) as error:
        show_error(str(error))


def show_folder(viewer: Any, folder: Path) -> list[Layer]:
    """Show the labels or the previews of the run in `folder` as new layers.

    Raises
    ------
    ValueError
        If there are none.
    """
    return [add_layer(viewer, Layer.create(*one)) for one in _layers_of(folder)]


def _layers_of(folder: Path) -> list[LayerData]:
    return read_run(str(folder)) if (folder / STATUS).is_file() else read_folder(folder)
