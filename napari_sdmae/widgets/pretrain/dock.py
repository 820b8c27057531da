"""The Pre-train dock widget: a new run, its progress, and the runs there are."""

from __future__ import annotations

from functools import partial
from typing import Any

from napari.layers import Image

from napari_sdmae.widgets.base.help import add_help
from napari_sdmae.widgets.canvas.drop import accept_drop
from napari_sdmae.widgets.inputs.images_source import take_run_or_images
from napari_sdmae.widgets.pretrain.new_run_page import PretrainPage
from napari_sdmae.widgets.runs.dock import TrainingDock
from napari_sdmae.widgets.runs.progress_page import ProgressPage
from napari_sdmae.widgets.worker_client import QueryWorker, query_worker


class PretrainWidget(TrainingDock):
    """Pre-trains an SD-MAE on a folder of tissue images, or on image layers.

    Parameters
    ----------
    napari_viewer
        The viewer that shows the probe tiles.
    worker
        The client of the query worker; by default the one of this viewer process.
    """

    def __init__(self, napari_viewer: Any, worker: QueryWorker | None = None) -> None:
        super().__init__(napari_viewer, "pretrain", PretrainPage(worker or query_worker()), ProgressPage())
        accept_drop(self, partial(take_run_or_images, self))
        add_help(self, "pre-train")
        self.monitor.layers_wanted.connect(self.previews.follow)
        self.new_run.source.layers_requested.connect(self.take_layers)

    def take_layers(self) -> None:
        """Take the image layers selected in the viewer."""
        selection = self.viewer.layers.selection
        chosen = [layer for layer in self.viewer.layers if layer in selection and isinstance(layer, Image)]
        if not chosen:
            self.new_run.source.refuse("No image layer is selected. Select one or more in the layer list.")
            return
        self.new_run.source.take(chosen, self.layers_folder(chosen[0].name))
