"""Labels to files and back: asks the worker, so that fifty thousand outlines never stop the window."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari.layers import Labels
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_sdmae.humanize import sentence
from napari_sdmae.io.labels.registry import check_target
from napari_sdmae.labels.serialization import plugin_metadata, update_metadata
from napari_sdmae.layers.labels import labels_layer
from napari_sdmae.widgets.base.dialogs import ask_overwrite
from napari_sdmae.widgets.base.dock import set_text
from napari_sdmae.widgets.base.preferences import output_folder
from napari_sdmae.widgets.canvas import edit_labels as edit
from napari_sdmae.widgets.canvas.command_line import shell_line
from napari_sdmae.widgets.canvas.layer_region import RegionError
from napari_sdmae.widgets.canvas.show_layers import update_layers
from napari_sdmae.widgets.inputs.image import ImageInput
from napari_sdmae.widgets.segment import label_requests as jobs
from napari_sdmae.widgets.segment.export_form import ExportForm, Wanted
from napari_sdmae.widgets.worker_client import query_worker
from napari_sdmae.worker.protocol import ErrorCode, ExportResult, ImportRequest, ImportResult, WorkerError

FILTER = "Labels (*.geojson *.geojson.gz *.json *.tif *.tiff *.png zarr.json);;All files (*)"


class ExportController(QObject):
    """Writes the chosen labels, when it is told to, and opens others.

    Parameters
    ----------
    viewer
        The napari viewer.
    form
        What is wanted.
    image
        The picture that opened labels are laid on.
    opened
        Called with the layer of labels that were opened.
    """

    def __init__(
        self, viewer: Any, form: ExportForm, image: ImageInput, opened: Callable[[Labels], None], parent: QWidget
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._form = form
        self._image = image
        self._show = opened
        self._layer: Labels | None = None
        self._writing = False
        self._worker = query_worker()
        form.open_asked.connect(self._browse)
        form.changed.connect(self.enable)
        image.changed.connect(self.enable)

    def watch(self, layer: Labels | None) -> None:
        """Export `layer` from now on."""
        if layer is not self._layer:
            self._form.failure.clear()
            set_text(self._form.state, "")
        self._layer = layer
        if layer is not None:
            file = jobs.source_file(layer)
            self._form.fit_slide(file)
            self._form.suggest(jobs.suggested_file(file, layer.name, output_folder()))
        self.enable()

    def export(self) -> None:
        """Write the labels to the chosen file."""
        layer, wanted, form = self._layer, self._form.wanted, self._form
        if layer is None or wanted is None:
            return
        form.failure.clear()
        try:
            check_target(wanted.path, wanted.format)
        except OSError as error:
            self._failed(WorkerError(ErrorCode.INVALID, str(error)))
            return
        overwrite = wanted.path.exists()
        if overwrite and not ask_overwrite(form, f"“{wanted.path.name}”"):
            set_text(form.state, "Nothing was written.")
            return
        labels, signature = jobs.snapshot(layer), edit.signature(layer)
        self._begin("Writing…")
        self._worker.submit(
            lambda: jobs.export_request(labels, wanted.path, wanted.options, overwrite=overwrite),
            lambda result: self._exported(layer, wanted, signature, result),
            self._failed,
            user=form,
            purpose="export",
        )

    def open(self, path: Path) -> None:
        """Show the labels in the file or folder `path` on the chosen image."""
        self._form.failure.clear()
        image = self._image.layer
        path = next((one for one in (path, *path.parents) if one.name.lower().endswith(".zarr")), path)
        self._begin("Reading…")
        self._worker.submit(
            ImportRequest(path),
            lambda result: self._opened(path, image, result),
            self._failed,
            user=self._form,
            purpose="open",
        )

    def command(self) -> str:
        """Return the command that writes these labels, from the file they are in; empty where there is none."""
        layer, wanted = self._layer, self._form.wanted
        if layer is None or wanted is None:
            return ""
        mark = plugin_metadata(layer)
        file = str(mark.get("file", ""))
        if file in ("", str(wanted.path)) or mark.get("file_signature") != edit.signature(layer):
            return ""
        return shell_line(["sdmae", "export", file, *wanted.arguments])

    def enable(self) -> None:
        """Say what can be done."""
        form = self._form
        reason = self._reason()
        set_text(form.reason_line, reason)
        form.button.setEnabled(not reason and not self._writing)
        form.open_button.setEnabled(self._image.layer is not None and not self._writing)
        missing = "The matching command appears here after exporting."
        form.command_line.show_command(self.command(), missing)

    def _reason(self) -> str:
        if self._layer is None:
            return "Segment a picture first, or open labels."
        if self._form.wanted is None:
            return "Choose the file to write."
        return ""

    def _begin(self, text: str) -> None:
        self._writing = True
        set_text(self._form.state, text)
        self.enable()

    def _exported(self, layer: Labels, wanted: Wanted, signature: int, result: ExportResult) -> None:
        self._writing = False
        self._form.used()
        names = ", ".join(file.name for file in result.files)
        set_text(self._form.state, f"Written to {result.files[0].parent}: {names} ({result.seconds:.1f} s).")
        if self._form.readable(wanted.format):
            update_metadata(layer, file=str(wanted.path), file_signature=signature)
        self.enable()

    def _opened(self, path: Path, image: Any, result: ImportResult) -> None:
        self._writing = False
        try:
            if image is None or image not in self._viewer.layers:
                raise RegionError("Open the picture to which these labels belong, and choose it above.")
            field = jobs.place_in(result.label_map, image, self._viewer.dims.point)
        except RegionError as error:
            self._failed(WorkerError(ErrorCode.INVALID, str(error)))
            return
        (layer,) = update_layers(self._viewer, [labels_layer(result.label_map, field, key=f"opened/{path}", what=path.name)])
        assert isinstance(layer, Labels)
        edit.remember_original(layer)
        update_metadata(layer, file=str(path), file_signature=edit.signature(layer))
        self._show(layer)  # which clears what was told of another layer
        set_text(self._form.state, "\n".join([f"Opened {path.name}.", *map(sentence, result.warnings)]))
        self.enable()

    def _failed(self, failure: WorkerError) -> None:
        self._writing = False
        set_text(self._form.state, "")
        self._form.failure.fail(failure)
        self.enable()

    def _browse(self) -> None:
        start = str(Path(self._form.file.get()).parent) if self._form.file.get() else str(output_folder())
        chosen, _ = QFileDialog.getOpenFileName(self._form, "Open labels", start, FILTER)
        if chosen:
            self.open(Path(chosen))
