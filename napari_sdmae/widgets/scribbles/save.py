"""Save scribbles as a head, or as training data for Fine-tune."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_sdmae.data.labelled.write import free_value, write_labelled_folder
from napari_sdmae.humanize import several
from napari_sdmae.labels.serialization import plugin_metadata
from napari_sdmae.widgets.base.background import tell_when_done
from napari_sdmae.widgets.base.dock import set_text
from napari_sdmae.widgets.base.folders import free_folder
from napari_sdmae.widgets.base.preferences import device_arguments, output_folder, remember_recent
from napari_sdmae.widgets.canvas.annotations import annotations_from_labels
from napari_sdmae.widgets.canvas.command_line import NoCommandLine, image_arguments, shell_line
from napari_sdmae.widgets.canvas.crops import LayerPair
from napari_sdmae.widgets.canvas.layer_region import ImageRegion, source_text
from napari_sdmae.widgets.inputs.head import RECENT
from napari_sdmae.widgets.scribbles import strokes
from napari_sdmae.widgets.scribbles.controls import ScribbleControls
from napari_sdmae.widgets.scribbles.view import told_apart
from napari_sdmae.widgets.worker_client import query_worker
from napari_sdmae.worker.protocol import SaveScribblesRequest, ScribbleResult, WorkerError

SAVE = "Save a head that segments other pictures like this one."
FINE_TUNE = "Save picture and strokes as training data and open Fine-tune. Takes hours, gives better results."


@dataclass(frozen=True, eq=False)
class Segmented:
    """A result on its field, and the lines that are shown with it."""

    taken: ImageRegion
    result: ScribbleResult
    lines: str


class ScribbleSaver(QObject):
    """Saves the head of a result, and writes painted pictures as training data."""

    _written = Signal(object, int, str)

    def __init__(self, viewer: Any, controls: ScribbleControls, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._controls = controls
        self._worker = query_worker()
        self._segmented: Segmented | None = None
        self._counts: Mapping[int, int] = {}
        self._saving = self._writing = False
        self._written.connect(self._open_finetune)

    def enable(self, segmented: Segmented | None, counts: Mapping[int, int]) -> None:
        """Offer what can be kept of the last result, and of strokes of which there are so many per class value."""
        self._segmented, self._counts = segmented, counts
        _explain(self._controls.save, self._no_head(), SAVE)
        _explain(self._controls.finetune, self._no_images(), FINE_TUNE)

    def save_head(self) -> None:
        """Save the head of the result as a head folder."""
        if self._segmented is None or self._no_head():
            return
        controls, taken, result = self._controls, self._segmented.taken, self._segmented.result
        assert result.head is not None, "checked"
        name = controls.name.text().strip() or f"{taken.field.source.name} strokes"
        request = SaveScribblesRequest(
            folder=free_folder(output_folder() / "heads", name, "strokes"),
            model=str(result.model.folder),
            head=result.head,
            classes=told_apart(result, controls.classes.classes),
            source=source_text(controls.image.file_of(taken.layer), taken.layer),
            strokes=result.counts,
            agreement=result.agreement,
        )
        controls.failure.clear()
        self._saving = True
        self._tell("Saving…")
        self._worker.submit(request, lambda head: self._saved(taken, head), self._not_saved, user=self, purpose="save")

    def fine_tune(self) -> None:
        """Write the painted pictures as a labelled folder, and open Fine-tune on it."""
        classes, source = self._controls.classes.classes, self._controls.image.layer
        folder = free_folder(output_folder() / "strokes", source.name if source is not None else "", "strokes")
        point = [float(value) for value in self._viewer.dims.point]
        unpainted = free_value(one.value for one in classes)
        pairs = self._painted_pairs()

        def write() -> tuple[Path, int, str]:
            pictures = annotations_from_labels(pairs, "segmentation", point)
            write_labelled_folder(pictures, folder, classes, task="segmentation", unpainted=unpainted)
            return folder, unpainted, f"Strokes kept in {folder} ({several(len(pictures), 'picture', 'pictures')})."

        self._controls.failure.clear()
        self._writing = True
        self._tell("Writing the strokes…")
        tell_when_done(write, self._written, lambda line: (None, 0, f"The strokes could not be written: {line}"))

    def _painted_pairs(self) -> list[LayerPair]:
        images = {str(layer.unique_id): layer for layer in self._viewer.layers}
        on = [(plugin_metadata(layer)["strokes_on"], layer) for layer in strokes.strokes_layers(self._viewer)]
        return [LayerPair(images[image], layer) for image, layer in on if image in images and strokes.paint_count(layer)]

    def _open_finetune(self, folder: Path | None, unpainted: int, note: str) -> None:
        self._writing = False
        if folder is None:
            self._tell("")
            self._controls.failure.set_text(note)
            return
        self._tell(note)
        try:
            _, widget = self._viewer.window.add_plugin_dock_widget("napari-sdmae", "Fine-tune")
        except (KeyError, ValueError) as error:
            self._controls.failure.set_text(f"The dock widget Fine-tune cannot be opened: {error}")
            return
        widget.take_labels(folder, "segmentation", self._controls.model.model or None, unpainted)

    def _saved(self, taken: ImageRegion, folder: Path) -> None:
        self._saving = False
        head = str(folder)
        remember_recent(RECENT, head)
        command = self._controls.command
        same = "It draws the same map in Segment"
        try:
            pixels = image_arguments(taken, self._controls.image.file_of(taken.layer))
        except NoCommandLine as error:
            self._tell(f"Saved: {head}\n{same}.")
            command.show_command("", str(error))
        else:
            self._tell(f"Saved: {head}\n{same}, and with this command:")
            output = ["--output", str(output_folder() / "predict")]
            command.show_command(shell_line(["sdmae", "predict", head, *pixels, *device_arguments(), *output]))
        command.show()

    def _not_saved(self, failure: WorkerError) -> None:
        self._saving = False
        self._tell("")
        self._controls.failure.fail(failure)

    def _tell(self, line: str) -> None:
        set_text(self._controls.saved, line)
        self._controls.command.hide()
        self.enable(self._segmented, self._counts)

    def _no_head(self) -> str:
        """Return why no head can be saved, or an empty text."""
        if self._saving:
            return "A head is being saved."
        if self._segmented is None:
            return "Segment first, then save the head."
        if self._segmented.result.head is None:
            return "k-NN has no weights to save. Choose the linear classifier."
        return ""

    def _no_images(self) -> str:
        """Return why there is nothing to fine-tune from, or an empty text."""
        if self._writing:
            return "The strokes are being written."
        return "" if len(self._counts) > 1 else "Paint at least two classes first."


def _explain(button: Any, reason: str, tooltip: str) -> None:
    button.setEnabled(not reason)
    button.setToolTip(reason or tooltip)
