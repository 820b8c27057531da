"""Dock widget Scribbles: paint a few strokes of each class, see the whole field segmented, keep it as a head."""

from __future__ import annotations

import time
from typing import Any

from napari.layers import Labels
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QWidget

from napari_sdmae.humanize import sentence
from napari_sdmae.labels.serialization import plugin_metadata
from napari_sdmae.layers.base import Field, layer_id
from napari_sdmae.widgets.base.dock import Dock, set_text
from napari_sdmae.widgets.base.help import add_help
from napari_sdmae.widgets.base.lifetime import connect_while_alive
from napari_sdmae.widgets.base.preferences import preference, remember
from napari_sdmae.widgets.base.standing import Inputs, Shown, Standing
from napari_sdmae.widgets.canvas.drop import accept_drop
from napari_sdmae.widgets.canvas.layer_region import ImageRegion, RegionError, read_region, source_text
from napari_sdmae.widgets.canvas.show_layers import active_layer, update_layers
from napari_sdmae.widgets.scribbles import strokes
from napari_sdmae.widgets.scribbles.controls import ScribbleControls
from napari_sdmae.widgets.scribbles.save import ScribbleSaver, Segmented
from napari_sdmae.widgets.scribbles.stroke_layers import StrokeLayers
from napari_sdmae.widgets.scribbles.stroke_memory import StrokeMemory
from napari_sdmae.widgets.scribbles.view import ANSWER, agreement_line, result_layers, seen_with
from napari_sdmae.widgets.worker_client import query_worker
from napari_sdmae.worker.protocol import DevicesRequest, ScribbleRequest, ScribbleResult, WorkerError

PURPOSE = "scribble"
PAINTED = "The strokes have changed: press Segment."
PAUSE = 150
"""Milliseconds without a stroke after which the field is segmented anew."""
TWO = "Paint at least one stroke of two classes: choose a class, press Paint, and draw on the picture."


class ScribblesWidget(Dock):
    """Image, model and strokes in; classes of every pixel as a layer, a head or labelled images out."""

    def __init__(self, napari_viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = napari_viewer
        self.controls = ScribbleControls(napari_viewer, self)
        self.set_content(self.controls)
        accept_drop(self, self.controls.model.take)
        add_help(self, "scribbles")
        self.desk = StrokeLayers(napari_viewer, self.controls.classes, self)
        self.keeper = ScribbleSaver(napari_viewer, self.controls, self)
        self.memory = StrokeMemory()
        self._taken: ImageRegion | None = None
        self._elsewhere = 0
        self._worker = query_worker()
        self._fresh = True
        self.standing = Standing(
            napari_viewer, ANSWER, lambda: self.controls.image.layer, self._choices, self, self.controls.failure
        )
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(PAUSE)
        self.controls.fit_classes()
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
        controls.save.clicked.connect(lambda: self.keeper.save_head())
        controls.finetune.clicked.connect(lambda: self.keeper.fine_tune())
        controls.classes.chosen.connect(lambda _: self.brush("paint") if self._usable() else None)
        controls.classes.removed.connect(self.desk.erase_class)
        controls.classes.changed.connect(self._classes_changed)
        controls.image.changed.connect(self._image_changed)
        for signal in (controls.model.changed, controls.detail.edited, controls.method.edited):
            signal.connect(self._seen_otherwise)
        controls.probability.currentIndexChanged.connect(lambda _: self._probability_changed())
        controls.live.toggled.connect(lambda on: remember("scribbles.live", on))
        self.standing.changed.connect(self._tell)
        for event in ("inserted", "removed"):
            connect_while_alive(self, getattr(self._viewer.layers.events, event), lambda _event=None: self._enable())
        self.desk.painted.connect(self._timer.start)
        self._timer.timeout.connect(self._strokes_changed)

    @property
    def strokes_layer(self) -> Labels | None:
        """The strokes layer of the chosen picture, or None while there is none."""
        field = self._whole()
        return None if field is None else self.desk.on_picture(field)

    def brush(self, mode: str) -> None:
        """Take up the brush: ``paint`` with the chosen class, ``erase``, or put it down: ``pan_zoom``."""
        try:
            layer = self.strokes_layer if mode == "pan_zoom" else self._strokes_for(self._take())
        except RegionError as error:
            self.controls.failure.set_text(str(error))
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
        layer, field = active_layer(self._viewer), self._whole()
        if not isinstance(layer, Labels) or field is None or ANSWER in plugin_metadata(layer).get("id", ""):
            self.controls.failure.set_text("Select the Labels layer with your strokes in the layer list first.")
            return
        try:
            self.desk.adopt(layer, field)
        except ValueError as error:
            self.controls.failure.set_text(str(error))
            return
        self.controls.failure.clear()
        self._strokes_changed()

    def segment(self, live: bool = False) -> None:
        """Ask for the classes of the chosen field; `live`: of the field requested last, unless painting went on elsewhere."""
        controls = self.controls
        try:
            taken = self._same_field() if live else None
            taken = taken or self._take()
            layer = self._strokes_for(taken)
        except RegionError as error:
            if controls.image.layer is not None:
                self.standing.withdraw(str(controls.image.layer.unique_id))
            controls.failure.set_text(str(error))
            return
        info = controls.model.info
        assert info is not None, "the button is disabled without a model"
        classes = controls.classes.classes
        painted = strokes.painted(layer, taken.field, [one.value for one in classes])
        seen = seen_with(info, controls.detail.get(), taken.field.mpp)
        more = self.memory.elsewhere(seen, taken.field, self.desk.layers)
        self._taken, self._elsewhere = taken, strokes.paint_count(layer) - len(painted.values)
        if len({*painted.values.tolist(), *(value for part in more for value in part.values.tolist())}) < 2:
            self.standing.withdraw(taken.field.source.id, TWO)
            return
        controls.used()
        controls.failure.clear()
        if not live:
            set_text(controls.state, "Reading the region… (the first result takes longest)")
        self._fresh = True
        inputs, start = Inputs(taken, self._choices(), (layer,)), time.perf_counter()
        folder, options, device = controls.model.folder, controls.options, preference("device")
        self.standing.submit(
            inputs,
            lambda: ScribbleRequest(
                model=folder,
                image=taken.pixels,
                positions=painted.positions,
                values=painted.values,
                strokes=painted.strokes,
                classes=tuple(classes),
                more=tuple(more),
                mpp=taken.field.mpp,
                device=device,
                **options,
            ),
            lambda now, result: self._receive(inputs, layer, painted, seen, time.perf_counter() - start, now, result),
            lambda error: self._fail(taken, error),
            purpose=PURPOSE,
        )

    def _receive(
        self,
        inputs: Inputs,
        layer: Labels,
        painted: strokes.Painted,
        seen: Any,
        seconds: float,
        taken: ImageRegion,
        result: ScribbleResult,
    ) -> None:
        self.memory.keep(seen, taken.field, layer, painted, result.samples)
        once = "" if result.cached else " Further strokes will be faster."
        told = "\n".join([f"Segmented in {seconds:.1f} s.{once}", *map(sentence, result.warnings)])
        self.standing.show(inputs, Segmented(taken, result, told), self._draw(taken, result))

    def _choices(self) -> tuple[Any, ...]:
        controls = self.controls
        return controls.model.identity, controls.detail.get(), controls.method.get()

    def _tell(self) -> None:
        """Say what is true of the chosen picture and its strokes."""
        shown, controls = self.standing.current, self.controls
        if shown is None or not self._fresh:
            set_text(controls.agreement, "")
        else:
            set_text(controls.agreement, agreement_line(shown.content.result, controls.classes.classes))
        if not self.standing.waiting(PURPOSE):
            painted = "" if controls.live.isChecked() else PAINTED
            set_text(controls.state, self.standing.note if shown is None else shown.content.lines if self._fresh else painted)
        self._enable()

    def _draw(self, taken: ImageRegion, result: ScribbleResult) -> list[str]:
        source = source_text(self.controls.image.file_of(taken.layer), taken.layer)
        layers = result_layers(taken.field, result, self.controls.classes.classes, self.controls.probability_of, source)
        update_layers(self._viewer, layers)
        self.desk.bring_to_top()
        return [layer_id(layer) for layer in layers]

    def _draw_again(self, shown: Shown) -> None:
        """Show the result with the names, colours and probability that are wanted now."""
        segmented: Segmented = shown.content
        self.standing.show(shown.inputs, segmented, self._draw(segmented.taken, segmented.result))

    def _fail(self, taken: ImageRegion, failure: WorkerError) -> None:
        self.controls.failure.fail(failure)
        self.standing.withdraw(taken.field.source.id)

    def _take(self) -> ImageRegion:
        return self.controls.image.take(self.controls.mpp)

    def _same_field(self) -> ImageRegion | None:
        """Return the field requested last if it is still meant: the same picture, and nothing painted outside of it since."""
        taken, layer = self._taken, self.strokes_layer
        if taken is None or layer is None or taken.layer is not self.controls.image.layer:
            return None
        known = [one.value for one in self.controls.classes.classes]
        outside = strokes.paint_count(layer) - len(strokes.painted(layer, taken.field, known).values)
        return taken if outside <= self._elsewhere and self._on_slice(taken) else None

    def _on_slice(self, taken: ImageRegion) -> bool:
        whole = self._whole()
        return whole is not None and whole.index == taken.field.index

    def _whole(self) -> Field | None:
        """Return the chosen picture as one field, or None if there is none that can be taken whole."""
        layer = self.controls.image.layer
        if layer is None:
            return None
        try:
            return read_region(layer, self._viewer.dims.point, None, self.controls.mpp).field
        except RegionError:
            return self._taken.field if self._taken is not None else None

    def _strokes_for(self, taken: ImageRegion) -> Labels:
        return self.desk.over(taken.field, self._whole())

    def _strokes_changed(self) -> None:
        """Count the strokes, and segment anew if that is wanted."""
        self._fresh = False
        self._tell()
        if self.controls.live.isChecked() and self._usable():
            self.segment(live=True)

    def _classes_changed(self) -> None:
        """Show new names and colours everywhere; nothing is requested for them."""
        self.controls.fit_classes()
        self.desk.show_classes()
        shown = self.standing.current
        if shown is not None:
            self._draw_again(shown)
        self._enable()

    def _image_changed(self) -> None:
        self._taken = None
        self.standing.check()

    def _seen_otherwise(self) -> None:
        """Take back the result of another model, classifier or detail; submit anew where nothing has to be encoded for it."""
        before = self.standing.newest
        self.standing.check()
        if before is not None and self.standing.current is None:
            seen = self._choices()[:2] == before.inputs.choices[:2]  # type: ignore[index]
            if seen and self.controls.live.isChecked() and self._usable():
                self.segment(live=True)

    def _probability_changed(self) -> None:
        shown = self.standing.current
        if shown is None:
            return
        if self.controls.probability_of is None or shown.content.result.probabilities is not None:
            self._draw_again(shown)
        elif self._usable():
            self.segment(live=True)

    def _usable(self) -> bool:
        return not self.controls.reason()

    def _enable(self) -> None:
        """Bring buttons, counts and notes in line with what is there."""
        counts, whole = self.desk.counts(), self._whole()
        self.controls.classes.show_counts(counts)
        self.controls.fit_scale(whole is None or whole.source.mpp is not None)
        self.controls.enable(whole is not None and self.desk.on_picture(whole) is not None)
        shown = self.standing.current
        self.keeper.enable(None if shown is None else shown.content, counts)

    def _warm(self) -> None:
        """Let the worker import torch while a person is still painting."""
        self._worker.submit(DevicesRequest(), lambda _: None, lambda _: None, user=self, purpose="warm")
