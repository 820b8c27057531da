"""Labels to files and back: asks the worker, so that fifty thousand outlines never stop the window."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from napari.layers import Labels
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_sdmae.io.labels.registry import check_target
from napari_sdmae.labels.serialization import label_map_from_answer
from napari_sdmae.layers.labels import labels_layer
from napari_sdmae.widgets.base.dialogs import ask_overwrite
from napari_sdmae.widgets.base.dock import say
from napari_sdmae.widgets.base.preferences import output_folder
from napari_sdmae.widgets.canvas import edit_labels as edit
from napari_sdmae.widgets.canvas.layer_region import FieldError
from napari_sdmae.widgets.canvas.show_layers import show_layers
from napari_sdmae.widgets.inputs.image import ImageInput
from napari_sdmae.widgets.segment import label_requests as jobs
from napari_sdmae.widgets.segment.export_form import ExportForm, Wanted
from napari_sdmae.widgets.worker_client import Failure, query_worker

FILTER = "Labels (*.geojson *.geojson.gz *.json *.tif *.tiff *.png zarr.json);;All files (*)"


class ExportDesk(QObject):
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
            say(self._form.state, "")
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
            self._failed(Failure(str(error), ""))
            return
        overwrite = wanted.path.exists()
        if overwrite and not ask_overwrite(form, f"“{wanted.path.name}”"):
            say(form.state, "Nothing was written.")
            return
        question = partial(jobs.export_question, jobs.snapshot(layer), wanted.path, wanted.options | {"overwrite": overwrite})
        self._begin("Writing…")
        signature = edit.signature(layer)
        self._ask("export", question, partial(self._exported, layer, wanted, signature))

    def open(self, path: Path) -> None:
        """Show the labels in the file or folder `path` on the chosen image."""
        self._form.failure.clear()
        image = self._image.layer
        path = next((one for one in (path, *path.parents) if one.name.endswith(".zarr")), path)
        self._begin("Reading…")
        self._ask("open", {"kind": "import_labels", "path": str(path)}, partial(self._opened, path, image))

    def command(self) -> str:
        """Return the command that writes these labels, from the file they are in; empty where there is none."""
        layer, wanted = self._layer, self._form.wanted
        if layer is None or wanted is None:
            return ""
        mark = edit.mark_of(layer)
        file = str(mark.get("file", ""))
        if file in ("", str(wanted.path)) or mark.get("file_signature") != edit.signature(layer):
            return ""
        return shlex.join(["sdmae", "export", file, *wanted.arguments])

    def enable(self) -> None:
        """Say what can be done."""
        form = self._form
        reason = self._reason()
        say(form.reason_line, reason)
        form.button.setEnabled(not reason and not self._writing)
        form.open_button.setEnabled(self._image.layer is not None and not self._writing)
        missing = "The command converts a file of labels to another: export these labels, then choose the other file here."
        form.command_line.show_command(self.command(), missing)

    def _reason(self) -> str:
        if self._layer is None:
            return "Segment a picture first, or open labels."
        if self._form.wanted is None:
            return "Choose the file to write."
        return ""

    def _begin(self, text: str) -> None:
        self._writing = True
        say(self._form.state, text)
        self.enable()

    def _ask(self, purpose: str, question: Any, on_answer: Callable[[dict[str, Any]], None]) -> None:
        self._worker.ask(question, on_answer, self._failed, user=self._form, purpose=purpose)

    def _exported(self, layer: Labels, wanted: Wanted, signature: int, answer: dict[str, Any]) -> None:
        self._writing = False
        self._form.used()
        names = ", ".join(Path(file).name for file in answer["files"])
        say(self._form.state, f"Written to {Path(answer['files'][0]).parent}: {names} ({answer['seconds']:.1f} s).")
        if self._form.readable(wanted.format):
            edit.write_mark(layer, file=str(wanted.path), file_signature=signature)
        self.enable()

    def _opened(self, path: Path, image: Any, answer: dict[str, Any]) -> None:
        self._writing = False
        label_map = label_map_from_answer(answer)
        try:
            if image is None or image not in self._viewer.layers:
                raise FieldError("Open the picture to which these labels belong, and choose it above.")
            field = jobs.place_in(label_map, image, self._viewer.dims.point)
        except FieldError as error:
            self._failed(Failure(str(error), ""))
            return
        (layer,) = show_layers(self._viewer, [labels_layer(label_map, field, key=f"opened/{path}", what=path.name)])
        assert isinstance(layer, Labels)
        edit.keep_as_shown(layer)
        edit.write_mark(layer, file=str(path), file_signature=edit.signature(layer))
        say(self._form.state, "\n".join([f"Opened {path.name}.", *answer.get("warnings", [])]))
        self._show(layer)
        self.enable()

    def _failed(self, failure: Failure) -> None:
        self._writing = False
        say(self._form.state, "")
        self._form.failure.fail(failure)
        self.enable()

    def _browse(self) -> None:
        start = str(Path(self._form.file.get()).parent) if self._form.file.get() else str(output_folder())
        chosen, _ = QFileDialog.getOpenFileName(self._form, "Open labels", start, FILTER)
        if chosen:
            self.open(Path(chosen))
