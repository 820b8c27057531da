"""Dock widget Attention: what each patch of a picture attends to, live."""

from __future__ import annotations

import time
from itertools import product
from typing import Any

from napari.layers import Image
from qtpy.QtWidgets import QWidget

from napari_sdmae.humanize import sentence
from napari_sdmae.inference.attention.result import AttentionResult, ColourBasis
from napari_sdmae.layers.base import Field, layer_id
from napari_sdmae.widgets.attention.controls import AttentionControls
from napari_sdmae.widgets.attention.statistics import HINT, as_html, table
from napari_sdmae.widgets.attention.view import KEYS, Shown, View, attention_layers, attention_request, places
from napari_sdmae.widgets.base.dock import Dock, set_text
from napari_sdmae.widgets.base.help import add_help
from napari_sdmae.widgets.base.preferences import device_arguments, output_folder, preference
from napari_sdmae.widgets.base.standing import Inputs, Standing
from napari_sdmae.widgets.canvas.command_line import NoCommandLine, image_arguments, shell_line
from napari_sdmae.widgets.canvas.drop import accept_drop
from napari_sdmae.widgets.canvas.layer_region import ImageRegion, RegionError
from napari_sdmae.widgets.canvas.pointer import Pointer
from napari_sdmae.widgets.canvas.show_layers import find_layer, look_at, update_layers
from napari_sdmae.widgets.inputs.model import ModelInput
from napari_sdmae.widgets.worker_client import query_worker
from napari_sdmae.worker.protocol import AttentionRequest, DevicesRequest, WorkerError

SLOTS = ("a", "b")


class AttentionWidget(Dock):
    """Image and model in; attention maps as layers, numbers beside them.

    Asking takes the field once. Block, head and query patch then only need a new map of what the worker has kept.
    """

    def __init__(self, napari_viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = napari_viewer
        self.controls = AttentionControls(napari_viewer, self)
        self.set_content(self.controls)
        accept_drop(self, self.controls.model.take)
        add_help(self, "attention")
        self._taken: ImageRegion | None = None
        self.standing = Standing(
            napari_viewer, KEYS, lambda: self.controls.image.layer, self._choices, self, self.controls.failure
        )
        self._query: tuple[float, float] | None = None
        self._places: list[Field] = []
        self._arrangement: list[tuple[tuple[int, int], bool]] = []
        self._waiting: dict[str, Shown] = {}
        self._colours: dict[tuple[str, int], ColourBasis] = {}
        self._asked_at = 0.0
        self._pointer = Pointer(self, napari_viewer, self._point_at)
        self._worker = query_worker()
        self._connect()
        self._warm()
        self._enable()

    def _connect(self) -> None:
        controls = self.controls
        controls.show_button.clicked.connect(lambda: self.show_attention())
        controls.view_changed.connect(self._view_changed)
        controls.look_changed.connect(self._look_changed)
        controls.model.changed.connect(self._model_changed)
        controls.second.changed.connect(self._model_changed)
        controls.image.changed.connect(self._image_changed)
        self.standing.changed.connect(self._tell)
        controls.hover.toggled.connect(lambda _: self._enable())
        controls.keep_colours.toggled.connect(lambda _: self._enable())

    def show_attention(self) -> None:
        """Take the chosen field and show its attention."""
        controls = self.controls
        try:
            taken = controls.image.take(self._model_mpp)
        except RegionError as error:
            controls.failure.set_text(str(error))
            return
        if self._taken is None or taken.field.key != self._taken.field.key:
            self._query = None
        self._taken, self._places = taken, []
        self._arrangement = [(taken.field.origin, False)]
        controls.model.used()
        self._ask()

    @property
    def view(self) -> View:
        """What the controls say."""
        return self.controls.view

    @property
    def _model_mpp(self) -> float | None:
        return self.controls.model.info.mpp if self.controls.model.info else None

    def _models(self) -> dict[str, ModelInput]:
        inputs = dict(zip(SLOTS, (self.controls.model, self.controls.second), strict=True))
        return {slot: chosen for slot, chosen in inputs.items() if chosen.info is not None}

    def _ask(self, live: bool = False) -> None:
        taken, models = self._taken, self._models()
        if taken is None or "a" not in models:
            return
        self._asked_at = time.perf_counter()
        self._waiting = self._waiting if live else {}
        inputs = Inputs(taken, self._choices())
        self.controls.failure.clear()
        for slot, model in models.items():
            assert model.info is not None
            view = self.view.fitted(model.info.depth, model.info.heads)
            self._submit(slot, inputs, view, model.folder, live)
        self._enable()

    def _submit(self, slot: str, inputs: Inputs, view: View, model: str, live: bool) -> None:
        taken, query, keep, device = inputs.taken, self._query, self.controls.keep_colours.isChecked(), preference("device")

        def request() -> AttentionRequest:
            colours = self._colours.get((model, view.block)) if keep else None
            return attention_request(view, model, taken.pixels, query, mpp=taken.field.mpp, device=device, colours=colours)

        self.standing.submit(
            inputs,
            request,
            lambda now, result: self._receive(slot, inputs, view, model, now, result),
            lambda error: self._fail(taken, error),
            purpose=f"map {slot}",
            live=live,
        )

    def _choices(self) -> tuple[Any, ...]:
        return tuple((slot, model.identity) for slot, model in self._models().items())

    def _receive(self, slot: str, inputs: Inputs, view: View, model: str, taken: ImageRegion, result: AttentionResult) -> None:
        self._waiting[slot] = Shown(slot, taken.field, view, result)
        if result.colours is not None:
            self._colours[model, view.block] = result.colours
        if slot == "a" and view.pointed:
            self._query = result.query
        if set(self._waiting) == set(self._models()):
            self._draw(inputs, taken)

    def _draw(self, inputs: Inputs, taken: ImageRegion) -> None:
        shown = [self._waiting[slot] for slot in sorted(self._waiting)]
        controls = self.controls
        layers = attention_layers(shown, taken.pixels, opacity=controls.opacity, interpolation=controls.interpolation)
        drawn = update_layers(self._viewer, layers)
        self._places = places(shown)
        arrangement = [(place.origin, one.view.grid) for place, one in zip(self._places, shown, strict=True)]
        if arrangement != self._arrangement:  # maps came or went beside the picture: mostly off screen
            look_at(self._viewer, [layer for layer in drawn if isinstance(layer, Image)])
        self._arrangement = arrangement
        milliseconds = (time.perf_counter() - self._asked_at) * 1000
        self.standing.show(inputs, (shown, milliseconds), [layer_id(layer) for layer in layers])

    def _prefix(self, taken: ImageRegion) -> str:
        return f"{taken.field.source.id}/{KEYS}"

    def _tell(self) -> None:
        """Say what is true of the chosen picture."""
        current = self.standing.current
        if current is None:
            set_text(self.controls.numbers, "")
            if not self.standing.waiting("map a"):
                set_text(self.controls.state, self.standing.note)
            return
        shown, milliseconds = current.content
        titles = [one.result.model.name if len(shown) > 1 else "" for one in shown]
        numbers = [as_html(*table(one.result), title) for title, one in zip(titles, shown, strict=True)]
        set_text(self.controls.numbers, "".join(numbers))
        self.controls.numbers.setToolTip(HINT)
        warnings = [sentence(line) for one in shown for line in one.result.warnings]
        set_text(self.controls.state, "\n".join([f"Shown in {milliseconds:.0f} ms.", *warnings]))

    def _fail(self, taken: ImageRegion, failure: WorkerError) -> None:
        self._waiting = {}
        self.controls.failure.fail(failure)
        self.standing.withdraw(taken.field.source.id)

    def _point_at(self, position: Any) -> bool:
        """Move the query patch to a world position; False when it lies outside of the field."""
        if self._taken is None or self._taken.layer not in self._viewer.layers:
            return False
        data = self._taken.layer.world_to_data(position)
        hit = next((point for place in [self._taken.field, *self._places] if place.contains(*(point := place.pixel(data)))), None)
        if hit is not None and hit != self._query:
            self._query = hit
            self._ask(live=True)
        return hit is not None

    def _view_changed(self) -> None:
        self._enable()
        self._ask()

    def _model_changed(self) -> None:
        self._waiting = {}
        self.standing.check()
        self.controls.fit_model()
        self._enable()
        self._ask()

    def _image_changed(self) -> None:
        """Go on with what was asked of the picture that is chosen now, not with that of another."""
        self.standing.check()
        current = self.standing.current
        if self._taken is not None and self._taken.layer is not self.controls.image.layer:
            self._taken = current.inputs.taken if current is not None else None
            self._query = current.content[0][0].result.query if current is not None else None
            self._places = places(current.content[0]) if current is not None else []
        self._enable()

    def _look_changed(self) -> None:
        prefix = self._prefix(self._taken) if self._taken is not None else ""
        for what, slot in product(("map", "colours"), SLOTS):
            layer = find_layer(self._viewer, f"{prefix}{what}/{slot}")
            if layer is not None:
                layer.opacity = self.controls.opacity
                layer.interpolation2d = self.controls.interpolation

    def _enable(self) -> None:
        """Bring buttons, pointer and command in line with what is chosen."""
        controls = self.controls
        reason = controls.reason()
        controls.show_button.setEnabled(not reason)
        controls.show_button.setToolTip(reason or "Compute the maps of the chosen region.")
        set_text(controls.reason_line, reason)
        self._pointer.active = self.view.pointed
        self._pointer.hover = controls.hover.isChecked()
        try:
            controls.command.show_command("" if reason else self.command())
        except NoCommandLine as error:
            controls.command.show_command("", str(error))

    def command(self) -> str:
        """Return the command that writes the same map, of two models that of the first.

        Raises
        ------
        NoCommandLine
            If there is none.
        """
        view, image = self.view, self.controls.image
        if view.method == "pca" and self.controls.keep_colours.isChecked():
            raise NoCommandLine("No command: the colours are those of an earlier picture (Keep these colours).")
        taken = image.repeated(self._model_mpp)
        parts = [
            "sdmae",
            "attention",
            self.controls.model.model,
            *image_arguments(taken, image.file),
            *device_arguments(),
            "--output",
            str(output_folder() / "attention"),
        ]
        for name, value in view.parameters.items():
            parts += [f"--{name}", str(value)]
        same = self._taken is not None and self._taken.field.key == taken.field.key
        if view.pointed and self._query is not None and same:
            parts += ["--query", *(f"{value:g}" for value in self._query)]
        return shell_line(parts)

    def _warm(self) -> None:
        """Let the worker import torch while a person is still choosing."""
        if self.controls.model.info is not None:
            self._worker.submit(DevicesRequest(), lambda _: None, lambda _: None, user=self, purpose="warm")
