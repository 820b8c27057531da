"""Dock widget Scribbles: paint a few strokes of each class, see the whole field segmented, keep it as a head."""

from __future__ import annotations

import shlex
import time
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

from napari.layers import Labels
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QWidget

from napari_sdmae.io.labelled_writer import free_value, write_labelled_folder
from napari_sdmae.layers import KEY, Field
from napari_sdmae.widgets import _strokes as strokes
from napari_sdmae.widgets._events import connect_while_alive
from napari_sdmae.widgets._field import FieldError, Taken, take
from napari_sdmae.widgets._head_input import RECENT
from napari_sdmae.widgets._label_edit import classes_of, mark_of
from napari_sdmae.widgets._painted import painted_pictures
from napari_sdmae.widgets._pieces import Pair
from napari_sdmae.widgets._query import Failure, query_worker
from napari_sdmae.widgets._repeat import NotRepeatable, image_arguments
from napari_sdmae.widgets._scribble_controls import ScribbleControls
from napari_sdmae.widgets._scribble_view import (
    ANSWER,
    agreement_line,
    answer_layers,
    free_folder,
    question,
    seen_with,
)
from napari_sdmae.widgets._scroll import Dock, say
from napari_sdmae.widgets._segment_view import source_text
from napari_sdmae.widgets._settings import device_arguments, output_folder, preference, remember, remember_recent
from napari_sdmae.widgets._show import show_layers, withdraw_layers
from napari_sdmae.widgets._stroke_memory import StrokeMemory

PAUSE = 150
"""Milliseconds without a stroke after which the field is segmented anew."""
TWO = "Paint at least one stroke of two classes: choose a class, press Paint, and draw on the picture."


class ScribblesWidget(Dock):
    """Image, model and strokes in; classes of every pixel as a layer, a head or labelled images out."""

    _written = Signal(object, int, str)

    def __init__(self, napari_viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = napari_viewer
        self.controls = ScribbleControls(napari_viewer, self)
        self.set_content(self.controls)
        self.memory = StrokeMemory()
        self._taken: Taken | None = None
        self._answered: tuple[Taken, dict[str, Any]] | None = None
        self._elsewhere = 0
        self._watched: list[Labels] = []
        self._worker = query_worker()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(PAUSE)
        self._resume()
        self._connect()
        self._warm()
        self._enable()

    def _connect(self) -> None:
        controls = self.controls
        controls.segment.clicked.connect(lambda: self.segment())
        for button, mode in ((controls.paint, "paint"), (controls.erase, "erase"), (controls.move_button, "pan_zoom")):
            button.clicked.connect(lambda _=False, mode=mode: self.brush(mode))
        controls.undo.clicked.connect(lambda: self.undo())
        controls.adopt.clicked.connect(lambda: self.adopt())
        controls.save.clicked.connect(lambda: self.save_head())
        controls.finetune.clicked.connect(lambda: self.fine_tune())
        controls.classes.chosen.connect(lambda _: self.brush("paint") if self._usable() else None)
        controls.classes.removed.connect(self._remove_class)
        controls.classes.changed.connect(self._classes_changed)
        controls.image.changed.connect(self._image_changed)
        for signal in (controls.model.changed, controls.detail.edited, controls.method.edited):
            signal.connect(self._seen_otherwise)
        controls.probability.currentIndexChanged.connect(lambda _: self._probability_changed())
        controls.live.toggled.connect(lambda on: remember("scribbles.live", on))
        controls.name.textChanged.connect(lambda _: self._enable())
        for event in ("inserted", "removed"):
            connect_while_alive(self, getattr(self._viewer.layers.events, event), lambda _event=None: self._enable())
        self._timer.timeout.connect(self._strokes_changed)
        self._written.connect(self._open_finetune)

    @property
    def strokes_layer(self) -> Labels | None:
        """The strokes layer of the chosen picture, or None while there is none."""
        field = self._whole()
        if field is None:
            return None
        mine = [layer for layer in strokes.strokes_layers(self._viewer) if mark_of(layer)["strokes_on"] == field.source.id]
        active = self._viewer.layers.selection.active
        return next((layer for layer in mine if layer is active), mine[0] if mine else None)

    def brush(self, mode: str) -> None:
        """Take up the brush: ``paint`` with the chosen class, ``erase``, or put it down: ``pan_zoom``."""
        try:
            layer = self.strokes_layer if mode == "pan_zoom" else self._strokes_for(self._take())
        except FieldError as error:
            self.controls.failure.say(str(error))
            return
        if layer is None:
            return
        self._viewer.layers.selection.active = layer
        layer.selected_label = self.controls.classes.value or 1
        layer.mode = mode
        self._enable()

    def undo(self) -> None:
        """Take the last stroke back."""
        layer = self.strokes_layer
        if layer is not None:
            layer.undo()
            self._timer.start()

    def adopt(self) -> None:
        """Take the Labels layer that is selected in the viewer as strokes on the chosen picture."""
        layer, field = self._viewer.layers.selection.active, self._whole()
        if not isinstance(layer, Labels) or field is None or ANSWER in mark_of(layer).get("id", ""):
            self.controls.failure.say("Select the Labels layer with your strokes in the layer list first.")
            return
        try:
            found = strokes.adopt(layer, field)
        except ValueError as error:
            self.controls.failure.say(str(error))
            return
        self.controls.failure.clear()
        counts = strokes.stroke_counts(strokes.strokes_layers(self._viewer))
        known = {one.value for one in found}
        others = [one for one in self.controls.classes.classes if one.value in counts and one.value not in known]
        self.controls.classes.set([*found, *others])
        self._watch(layer)
        self._strokes_changed()

    def segment(self, live: bool = False) -> None:
        """Ask for the classes of the chosen field; `live`: of the field asked about last, unless painting went on elsewhere."""
        controls = self.controls
        try:
            taken = self._same_field() if live else None
            taken = taken or self._take()
            layer = self._strokes_for(taken)
        except FieldError as error:
            if self._answered is not None:
                self._withdraw(self._answered[0])
            controls.failure.say(str(error))
            return
        info = controls.model.info
        assert info is not None, "the button is disabled without a model"
        classes = controls.classes.classes
        painted = strokes.painted(layer, taken.field, [one.value for one in classes])
        seen = seen_with(info, controls.detail.get(), taken.field.mpp)
        more = self.memory.elsewhere(seen, taken.field, strokes.strokes_layers(self._viewer))
        self._taken, self._elsewhere = taken, strokes.paint_count(layer) - len(painted.values)
        if len({*painted.values.tolist(), *(value for part in more for value in part["values"].tolist())}) < 2:
            self._withdraw(taken)
            say(controls.state, TWO)
            return
        self._remember_choices()
        controls.failure.clear()
        if not live:
            say(controls.state, "Looking at the field… (the first time on a field takes longer than every stroke after it)")
        options = {
            "classes": [one.model_dump() for one in classes],
            "method": controls.method.get(),
            "detail": controls.detail.get(),
            "probabilities": controls.probability_of is not None,
            "device": preference("device"),
        }
        self._worker.ask(
            partial(question, taken, controls.model.model, painted, more, options),
            partial(self._receive, taken, layer, painted, seen, time.perf_counter()),
            partial(self._fail, taken),
            user=self,
            purpose="scribble",
        )

    def save_head(self) -> None:
        """Save the answer's head as a head folder."""
        if self._answered is None or self._answered[1]["head"] is None:
            return
        controls, (taken, answer) = self.controls, self._answered
        name = controls.name.text().strip() or f"{taken.field.source.name} strokes"
        folder = free_folder(output_folder() / "heads", name)
        asked = {
            "kind": "save_scribbles",
            "folder": str(folder),
            "model": answer["model"]["folder"],
            "head": answer["head"],
            "classes": [one.model_dump() for one in controls.classes.classes],
            "provenance": {
                "source": source_text(controls.image.file, taken.layer),
                "strokes": {str(value): count for value, count in answer["counts"].items()},
                "agreement": {str(value): share for value, share in answer["agreement"].items()},
            },
        }
        say(controls.saved, "Saving…")
        self._worker.ask(asked, partial(self._saved, taken), self._save_failed, user=self, purpose="save")

    def fine_tune(self) -> None:
        """Write the painted pictures as a labelled folder, and open Fine-tune on it."""
        layers = strokes.strokes_layers(self._viewer)
        images = {strokes_id: layer for layer in self._viewer.layers if (strokes_id := str(layer.unique_id))}
        pairs = [
            Pair(images[mark_of(layer)["strokes_on"]], layer)
            for layer in layers
            if mark_of(layer)["strokes_on"] in images and strokes.paint_count(layer)
        ]
        classes = self.controls.classes.classes
        source = self.controls.image.layer
        folder = free_folder(output_folder() / "strokes", f"{source.name if source is not None else 'strokes'}")
        point = [float(value) for value in self._viewer.dims.point]
        unpainted = free_value(one.value for one in classes)

        def write() -> None:
            try:
                pictures = painted_pictures(pairs, "segmentation", point)
                write_labelled_folder(pictures, folder, classes, task="segmentation", unpainted=unpainted)
            except Exception as error:  # in a thread nobody else would tell
                self._written.emit(None, 0, f"The strokes could not be written: {error}")
                return
            self._written.emit(folder, unpainted, f"Strokes kept in {folder} ({len(pictures)} pictures).")

        self.controls.finetune.setEnabled(False)
        say(self.controls.saved, "Writing the strokes…")
        Thread(target=write, daemon=True).start()

    def _open_finetune(self, folder: Path | None, unpainted: int, note: str) -> None:
        say(self.controls.saved, note)
        self._enable()
        if folder is None:
            self.controls.failure.say(note)
            return
        _, widget = self._viewer.window.add_plugin_dock_widget("napari-sdmae", "Fine-tune")
        widget.take_labels(folder, "segmentation", self.controls.model.model or None, unpainted)

    def _saved(self, taken: Taken, answer: dict[str, Any]) -> None:
        remember_recent(RECENT, answer["folder"])
        say(
            self.controls.saved, f"Saved: {answer['folder']}\nIt draws the same map in Segment and export, and with this command:"
        )
        try:
            pixels = image_arguments(taken, str(taken.layer.metadata.get(KEY, {}).get("file") or taken.layer.source.path or ""))
        except NotRepeatable as error:
            self.controls.command.show_command("", str(error))
        else:
            output = ["--output", str(output_folder() / "predict")]
            command = ["sdmae", "predict", answer["folder"], *pixels, *device_arguments(), *output]
            self.controls.command.show_command(shlex.join(command))
        self.controls.command.show()

    def _save_failed(self, failure: Failure) -> None:
        say(self.controls.saved, "")
        self.controls.failure.fail(failure)

    def _receive(
        self, taken: Taken, layer: Labels, painted: strokes.Painted, seen: Any, asked_at: float, answer: dict[str, Any]
    ) -> None:
        self.memory.keep(seen, taken.field, layer, painted, answer["samples"])
        self._answered = (taken, answer)
        self._draw()
        seconds = time.perf_counter() - asked_at
        once = "" if answer["cached"] else " The next stroke takes less: the field is known now."
        say(self.controls.state, "\n".join([f"Segmented in {seconds:.1f} s.{once}", *answer.get("warnings", [])]))
        say(self.controls.agreement, agreement_line(answer, self.controls.classes.classes))
        self._enable()

    def _draw(self) -> None:
        if self._answered is None:
            return
        taken, answer = self._answered
        if taken.layer not in self._viewer.layers:
            return
        source = source_text(self.controls.image.file, taken.layer)
        layers = answer_layers(taken.field, answer, self.controls.classes.classes, self.controls.probability_of, source)
        wanted = {attributes["metadata"]["sdmae"]["id"] for _, attributes, _ in layers}
        withdraw_layers(self._viewer, f"{taken.field.source.id}/{ANSWER}", wanted)
        show_layers(self._viewer, layers)
        self._strokes_on_top()

    def _strokes_on_top(self) -> None:
        top = len(self._viewer.layers) - 1
        for layer in reversed(strokes.strokes_layers(self._viewer)):
            if self._viewer.layers.index(layer) < top:
                self._viewer.layers.move(self._viewer.layers.index(layer), top + 1)

    def _fail(self, taken: Taken, failure: Failure) -> None:
        self.controls.failure.fail(failure)
        say(self.controls.state, "")
        self._withdraw(taken)

    def _withdraw(self, taken: Taken) -> None:
        """Hide and mark the answer: it no longer says what is true."""
        self._answered = None
        say(self.controls.agreement, "")
        withdraw_layers(self._viewer, f"{taken.field.source.id}/{ANSWER}")
        self._enable()

    def _take(self) -> Taken:
        return self.controls.image.take(self._model_mpp)

    def _same_field(self) -> Taken | None:
        """Return the field asked about last if it is still meant: the same picture, and nothing painted outside of it since."""
        taken, layer = self._taken, self.strokes_layer
        if taken is None or layer is None or taken.layer is not self.controls.image.layer:
            return None
        known = [one.value for one in self.controls.classes.classes]
        outside = strokes.paint_count(layer) - len(strokes.painted(layer, taken.field, known).values)
        return taken if outside <= self._elsewhere and self._on_slice(taken) else None

    def _on_slice(self, taken: Taken) -> bool:
        whole = self._whole()
        return whole is not None and whole.index == taken.field.index

    def _whole(self) -> Field | None:
        """Return the chosen picture as one field, or None if there is none that can be taken whole."""
        layer = self.controls.image.layer
        if layer is None:
            return None
        try:
            return take(layer, self._viewer.dims.point, None, self._model_mpp).field
        except FieldError:
            return self._taken.field if self._taken is not None else None

    @property
    def _model_mpp(self) -> float | None:
        return self.controls.model.info.mpp if self.controls.model.info else None

    def _strokes_for(self, taken: Taken) -> Labels:
        """Return the strokes layer over the field; a new one lies over the whole picture where that is no coarser."""
        found = strokes.find_strokes(self._viewer, taken.field)
        if found is None:
            whole = self._whole()
            field = whole if whole is not None and whole.step == taken.field.step else taken.field
            found = self._viewer.add_layer(strokes.new_strokes(field, self.controls.classes.classes))
        self._watch(found)
        return found

    def _watch(self, layer: Labels) -> None:
        if any(layer is one for one in self._watched):
            return
        self._watched.append(layer)
        strokes.show_classes(layer, self.controls.classes.classes)
        for name in ("paint", "labels_update", "data"):
            connect_while_alive(self, getattr(layer.events, name), lambda _event=None: self._timer.start())

    def _resume(self) -> None:
        """Go on with strokes layers that are there already."""
        there = strokes.strokes_layers(self._viewer)
        if there and classes_of(there[0]):
            self.controls.classes.set(classes_of(there[0]))
        for layer in there:
            self._watch(layer)

    def _strokes_changed(self) -> None:
        """Count the strokes, and segment anew if that is wanted."""
        self._enable()
        if not self.controls.live.isChecked():
            say(self.controls.state, "The strokes have changed: press Segment." if self._answered else "")
        elif self._usable():
            self.segment(live=True)

    def _remove_class(self, value: int) -> None:
        for layer in strokes.strokes_layers(self._viewer):
            strokes.erase_class(layer, value)

    def _classes_changed(self) -> None:
        """Show new names and colours everywhere; nothing is asked for them."""
        controls = self.controls
        controls.fit_classes()
        for layer in strokes.strokes_layers(self._viewer):
            strokes.show_classes(layer, controls.classes.classes)
        if self._answered is not None:
            self._draw()
            say(controls.agreement, agreement_line(self._answered[1], controls.classes.classes))
        self._enable()

    def _image_changed(self) -> None:
        self._taken = None
        self._enable()

    def _seen_otherwise(self) -> None:
        """Withdraw an answer that another model, classifier or detail gave; ask anew where nothing has to be encoded for it."""
        answered = self._answered
        if answered is not None:
            taken, answer = answered
            self._withdraw(taken)
            info = self.controls.model.info
            same = info is not None and str(info.folder) == answer["model"]["folder"]
            if same and self.controls.detail.get() == answer["detail"] and self.controls.live.isChecked() and self._usable():
                self.segment(live=True)
            else:
                say(self.controls.state, "Press Segment.")
        self._enable()

    def _probability_changed(self) -> None:
        if self._answered is None:
            return
        if self.controls.probability_of is None or self._answered[1]["probabilities"] is not None:
            self._draw()
        elif self._usable():
            self.segment(live=True)

    def _remember_choices(self) -> None:
        self.controls.model.used()
        remember("scribbles.method", self.controls.method.get())
        remember("scribbles.detail", self.controls.detail.get())

    def _usable(self) -> bool:
        return not self._reason()

    def _reason(self) -> str:
        if self.controls.image.layer is None:
            return "Open a picture first, for example with File > Open Sample > SD-MAE."
        return self.controls.model.problem

    def _save_reason(self) -> str:
        if self._answered is None:
            return "Segment first: the head of what you see is saved."
        if self._answered[1]["head"] is None:
            return "k-NN has no weights to save: choose the linear classifier."
        return ""

    def _enable(self) -> None:
        """Bring buttons, counts and notes in line with what is there."""
        controls, reason = self.controls, self._reason()
        layers = strokes.strokes_layers(self._viewer)
        counts = strokes.stroke_counts(layers)
        controls.classes.show_counts(counts)
        say(controls.reason_line, reason)
        controls.segment.setEnabled(not reason)
        whole = self._whole()
        controls.fit_scale(whole is None or whole.source.mpp is not None)
        pictured = controls.image.layer is not None
        for button in (controls.paint, controls.erase, controls.adopt):
            button.setEnabled(pictured)
        for button in (controls.undo, controls.move_button):
            button.setEnabled(self.strokes_layer is not None)
        _explain(controls.save, self._save_reason(), "Write a head folder that segments other pictures as this one.")
        _explain(
            controls.finetune,
            "" if len(counts) > 1 else "Paint at least two classes first.",
            "Write picture and strokes as training data, and open Fine-tune on it: hours instead of seconds, and better.",
        )

    def _warm(self) -> None:
        """Let the worker import torch while a person is still painting."""
        self._worker.ask({"kind": "devices"}, lambda _: None, lambda _: None, user=self, purpose="warm")


def _explain(button: Any, reason: str, tooltip: str) -> None:
    button.setEnabled(not reason)
    button.setToolTip(reason or tooltip)
