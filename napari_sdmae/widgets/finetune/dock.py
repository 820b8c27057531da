"""The Fine-tune dock widget: labelled images and a model become a head; its progress, and the runs there are."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, cast

from qtpy.QtWidgets import QMessageBox

from napari_sdmae.config.finetune import Task
from napari_sdmae.widgets.base.help import add_help
from napari_sdmae.widgets.canvas.drop import accept_drop
from napari_sdmae.widgets.finetune.new_run_page import FinetunePage
from napari_sdmae.widgets.finetune.progress_page import FinetuneProgressPage
from napari_sdmae.widgets.inputs.images_source import take_run_or_images
from napari_sdmae.widgets.runs.dock import TrainingDock
from napari_sdmae.widgets.worker_client import QueryWorker, query_worker

SEGMENT = ("napari-sdmae", "Segment")


class FinetuneWidget(TrainingDock):
    """Fine-tunes a head on labelled images, on Labels painted in the viewer, or on boxes drawn there.

    Parameters
    ----------
    napari_viewer
        The viewer whose labels are taken, and that shows validation images.
    worker
        The client of the query worker; by default the one of this viewer process.
    """

    def __init__(self, napari_viewer: Any, worker: QueryWorker | None = None) -> None:
        super().__init__(napari_viewer, "finetune", FinetunePage(worker or query_worker()), FinetuneProgressPage())
        self.monitor.segment_requested.connect(self.open_in_segment)
        accept_drop(self, partial(take_run_or_images, self))
        add_help(self, "fine-tune")
        self.monitor.layers_wanted.connect(self.previews.follow)
        self.new_run.source.layers_requested.connect(self.take_layers)

    def take_labels(
        self, folder: Path, task: str = "segmentation", model: str | None = None, ignore_value: int | None = None
    ) -> None:
        """Show a new run on labels that were written to `folder`, such as strokes or corrections.

        Parameters
        ----------
        folder
            Labelled images, in a layout that ``sdmae finetune`` reads.
        task
            Task from them.
        model
            The model to start from; None leaves the one that is chosen.
        ignore_value
            Value of what is not learned; None leaves the setting as it is.
        """
        self.new_run.take_labels(Path(folder), cast(Task, task), model, ignore_value)
        self.tabs.setCurrentIndex(0)

    def take_layers(self) -> None:
        """Take the Labels or Shapes layers selected in the viewer."""
        selection = self.viewer.layers.selection
        selected = [layer for layer in self.viewer.layers if layer in selection]
        name = selected[0].name if selected else "labels"
        point = tuple(float(value) for value in self.viewer.dims.point)
        self.new_run.source.take_painted(list(self.viewer.layers), selected, point, self.layers_folder(name))

    def open_in_segment(self) -> None:
        """Open the dock widget that segments, measures and exports, with the head of this run chosen."""
        if self.watcher.folder is None:
            return
        try:
            _, widget = self.viewer.window.add_plugin_dock_widget(*SEGMENT)
        except (KeyError, ValueError) as error:
            QMessageBox.information(self, "Segment", f"The dock widget cannot be opened: {error}")
            return
        widget.choose_head(self.watcher.folder.path)

    def follow_theme(self, background: str, foreground: str) -> None:
        """Draw in the colours of the viewer's theme."""
        self.monitor.set_colours(background, foreground)
