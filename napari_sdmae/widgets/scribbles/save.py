"""What remains of scribbles: a head folder, or labelled images that Fine-tune learns from."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_sdmae.data.labelled.write import free_value, write_labelled_folder
from napari_sdmae.widgets.base.background import tell_when_done
from napari_sdmae.widgets.base.dock import say
from napari_sdmae.widgets.base.preferences import device_arguments, output_folder, remember_recent
from napari_sdmae.widgets.canvas.annotations import painted_pictures
from napari_sdmae.widgets.canvas.command_line import NotRepeatable, image_arguments
from napari_sdmae.widgets.canvas.crops import Pair
from napari_sdmae.widgets.canvas.edit_labels import mark_of
from napari_sdmae.widgets.canvas.layer_region import Taken, source_text
from napari_sdmae.widgets.inputs.head import RECENT
from napari_sdmae.widgets.scribbles import strokes
from napari_sdmae.widgets.scribbles.controls import ScribbleControls
from napari_sdmae.widgets.scribbles.view import Answer, free_folder, told_apart
from napari_sdmae.widgets.worker_client import Failure, query_worker

SAVE = "Write a head folder that segments other pictures as this one."
FINE_TUNE = "Write picture and strokes as training data, and open Fine-tune on it: hours instead of seconds, and better."


class ScribbleKeeper(QObject):
    """Saves the head of an answer, and writes painted pictures as training data."""

    _written = Signal(object, int, str)

    def __init__(self, viewer: Any, controls: ScribbleControls, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._controls = controls
        self._worker = query_worker()
        self._answered: tuple[Taken, Answer] | None = None
        self._counts: Mapping[int, int] = {}
        self._saving = self._writing = False
        self._written.connect(self._open_finetune)

    def enable(self, answered: tuple[Taken, Answer] | None, counts: Mapping[int, int]) -> None:
        """Offer what can be kept of the last answer, and of strokes of which there are so many per class value."""
        self._answered, self._counts = answered, counts
        _explain(self._controls.save, self._no_head(), SAVE)
        _explain(self._controls.finetune, self._no_images(), FINE_TUNE)

    def save_head(self) -> None:
        """Save the answer's head as a head folder."""
        if self._answered is None or self._no_head():
            return
        controls, (taken, answer) = self._controls, self._answered
        name = controls.name.text().strip() or f"{taken.field.source.name} strokes"
        asked = {
            "kind": "save_scribbles",
            "folder": str(free_folder(output_folder() / "heads", name)),
            "model": answer["model"]["folder"],
            "head": answer["head"],
            "classes": [one.model_dump() for one in told_apart(answer, controls.classes.classes)],
            "provenance": {
                "source": source_text(controls.image.file_of(taken.layer), taken.layer),
                "strokes": {str(value): count for value, count in answer["counts"].items()},
                "agreement": {str(value): share for value, share in answer["agreement"].items()},
            },
        }
        controls.failure.clear()
        self._saving = True
        self._tell("Saving…")
        self._worker.ask(asked, partial(self._saved, taken), self._not_saved, user=self, purpose="save")

    def fine_tune(self) -> None:
        """Write the painted pictures as a labelled folder, and open Fine-tune on it."""
        classes, source = self._controls.classes.classes, self._controls.image.layer
        folder = free_folder(output_folder() / "strokes", source.name if source is not None else "strokes")
        point = [float(value) for value in self._viewer.dims.point]
        unpainted = free_value(one.value for one in classes)
        pairs = self._painted_pairs()

        def write() -> tuple[Path, int, str]:
            pictures = painted_pictures(pairs, "segmentation", point)
            write_labelled_folder(pictures, folder, classes, task="segmentation", unpainted=unpainted)
            return folder, unpainted, f"Strokes kept in {folder} ({len(pictures)} pictures)."

        self._controls.failure.clear()
        self._writing = True
        self._tell("Writing the strokes…")
        tell_when_done(write, self._written, lambda line: (None, 0, f"The strokes could not be written: {line}"))

    def _painted_pairs(self) -> list[Pair]:
        images = {str(layer.unique_id): layer for layer in self._viewer.layers}
        on = [(mark_of(layer)["strokes_on"], layer) for layer in strokes.strokes_layers(self._viewer)]
        return [Pair(images[image], layer) for image, layer in on if image in images and strokes.paint_count(layer)]

    def _open_finetune(self, folder: Path | None, unpainted: int, note: str) -> None:
        self._writing = False
        if folder is None:
            self._tell("")
            self._controls.failure.say(note)
            return
        self._tell(note)
        _, widget = self._viewer.window.add_plugin_dock_widget("napari-sdmae", "Fine-tune")
        widget.take_labels(folder, "segmentation", self._controls.model.model or None, unpainted)

    def _saved(self, taken: Taken, answer: dict[str, Any]) -> None:
        self._saving = False
        head = answer["folder"]
        remember_recent(RECENT, head)
        command = self._controls.command
        same = "It draws the same map in Segment"
        try:
            pixels = image_arguments(taken, self._controls.image.file_of(taken.layer))
        except NotRepeatable as error:
            self._tell(f"Saved: {head}\n{same}.")
            command.show_command("", str(error))
        else:
            self._tell(f"Saved: {head}\n{same}, and with this command:")
            output = ["--output", str(output_folder() / "predict")]
            command.show_command(shlex.join(["sdmae", "predict", head, *pixels, *device_arguments(), *output]))
        command.show()

    def _not_saved(self, failure: Failure) -> None:
        self._saving = False
        self._tell("")
        self._controls.failure.fail(failure)

    def _tell(self, line: str) -> None:
        say(self._controls.saved, line)
        self._controls.command.hide()
        self.enable(self._answered, self._counts)

    def _no_head(self) -> str:
        """Return why no head can be saved, or an empty text."""
        if self._saving:
            return "A head is being saved."
        if self._answered is None:
            return "Segment first: the head of what you see is saved."
        if self._answered[1]["head"] is None:
            return "k-NN has no weights to save: choose the linear classifier."
        return ""

    def _no_images(self) -> str:
        """Return why there is nothing to fine-tune from, or an empty text."""
        if self._writing:
            return "The strokes are being written."
        return "" if len(self._counts) > 1 else "Paint at least two classes first."


def _explain(button: Any, reason: str, tooltip: str) -> None:
    button.setEnabled(not reason)
    button.setToolTip(reason or tooltip)
