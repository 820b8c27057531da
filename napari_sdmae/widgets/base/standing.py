"""No result outlives its request: the one rule by which docks show, hide and drop results (docs/decisions/0064)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from qtpy.QtCore import QObject, QTimer, Signal

from napari_sdmae.widgets.base.error_line import FailureLine
from napari_sdmae.widgets.base.lifetime import connect_while_alive
from napari_sdmae.widgets.canvas.crops import overlap
from napari_sdmae.widgets.canvas.layer_region import ImageRegion
from napari_sdmae.widgets.canvas.show_layers import mark_stale, restore_layers
from napari_sdmae.widgets.worker_client import query_worker
from napari_sdmae.worker.protocol import Request, ResultT, WorkerError

CHANGES = ("set_data", "data", "scale", "translate", "rotate", "shear", "affine", "units")
"""Events of a picture's layer after which it is looked at again; napari also sends the first when a slider moves."""
PAUSE = 100
"""Milliseconds after the last of them: comparing pixels takes a few."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a result depends on: the pixels, what was chosen (model, settings), and other layers that it needs (strokes)."""

    taken: ImageRegion
    choices: Hashable
    needs: tuple[Any, ...] = ()


@dataclass(frozen=True, eq=False)
class Shown:
    """A result on the canvas: its inputs, what the dock keeps of it, and the ids of its layers."""

    inputs: Inputs
    content: Any
    ids: frozenset[str]


class Standing(QObject):
    """Submits the requests of one dock to the worker, and keeps canvas and dock true.

    A result stands while its picture is in the viewer with the same pixels at the same place and scale, and model and settings
    are those it was requested with. A request that falls before its result comes is dropped, with its result or failure. Layers
    of a result that fell are hidden and marked, and come back if it stands again; so are those of another picture that lie over
    the one that is chosen.

    Parameters
    ----------
    viewer
        The napari viewer.
    keys
        What the keys of the dock's layers start with.
    chosen
        Returns the image layer chosen in the dock.
    choices
        Returns what is chosen beside it, equal while the same request would be submitted.
    dock
        The widget that submits.
    failure
        Where it shows what went wrong; cleared when another picture, model or setting is chosen.
    kept
        The layers are results of their own: they go with their picture only.

    Notes
    -----
    ``changed()`` when a result came to stand or ceased to: the dock says what is true of :attr:`current`.
    """

    changed = Signal()

    def __init__(
        self,
        viewer: Any,
        keys: str,
        chosen: Callable[[], Any],
        choices: Callable[[], Hashable],
        dock: QObject,
        failure: FailureLine,
        *,
        kept: bool = False,
    ) -> None:
        super().__init__(dock)
        self._failure = failure
        self._situation: Any = None
        self._viewer, self._keys, self._chosen, self._choices, self._kept = viewer, keys, chosen, choices, kept
        self._dock = dock
        self._worker = query_worker()
        self._pending: dict[str, Inputs] = {}
        self._shown: dict[str, Shown] = {}
        self._note = ""
        self._touches: dict[str, int] = {}
        self._compared: WeakKeyDictionary[Inputs, tuple[int, str]] = WeakKeyDictionary()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(PAUSE)
        self._timer.timeout.connect(self.check)
        connect_while_alive(self, viewer.layers.events.removed, lambda _event=None: self.check())

    def submit(
        self,
        inputs: Inputs,
        request: Callable[[], Request[ResultT]],
        on_result: Callable[[ImageRegion, ResultT], None],
        on_error: Callable[[WorkerError], None],
        *,
        purpose: str,
        live: bool = False,
    ) -> None:
        """Submit `request`; the result comes with the pixels, called as their layer is then, unless it fell meanwhile."""

        def receive(result: ResultT) -> None:
            if self._settle(purpose, inputs):
                on_result(inputs.taken.renamed(), result)

        def fail(error: WorkerError) -> None:
            if self._settle(purpose, inputs):
                on_error(error)

        self._note = ""
        self._situation = id(self._chosen()), self._choices()
        self._watch(inputs.taken.layer)
        self._pending[purpose] = inputs
        self._worker.submit(request, receive, fail, user=self._dock, purpose=purpose, live=live)

    def cancel(self, purpose: str) -> None:
        """Stop computing a result; what was shown before stays."""
        self._pending.pop(purpose, None)
        self._worker.cancel(self._dock, purpose)
        self._note = "Cancelled."
        self.changed.emit()

    def show(self, inputs: Inputs, content: Any, ids: Sequence[str]) -> None:
        """Take note of a result for `inputs` on the canvas, in the layers `ids`: it replaces an earlier one."""
        source = inputs.taken.field.source.id
        self._shown[source] = Shown(inputs, content, frozenset(ids))
        mark_stale(self._viewer, f"{source}/{self._keys}", ids)
        self.check()

    def withdraw(self, source: str, note: str = "") -> None:
        """Take back what is shown and awaited of the picture `source`: a new request about it failed, or cannot be made."""
        self._shown.pop(source, None)
        for purpose in [one for one, inputs in self._pending.items() if inputs.taken.field.source.id == source]:
            del self._pending[purpose]
            self._worker.forget(self._dock, purpose)
        self._note = note
        mark_stale(self._viewer, f"{source}/{self._keys}")
        self.changed.emit()

    def waiting(self, purpose: str) -> bool:
        """Return whether a result is awaited."""
        return purpose in self._pending

    @property
    def current(self) -> Shown | None:
        """The result for the chosen picture, if there is one that stands."""
        shown = self.newest
        return shown if shown is not None and not self._fault(shown.inputs) else None

    @property
    def newest(self) -> Shown | None:
        """The result for the chosen picture that came last, whether it stands or not."""
        layer = self._chosen()
        return None if layer is None else self._shown.get(str(layer.unique_id))

    @property
    def note(self) -> str:
        """Why there is no result for the chosen picture any more, or an empty text."""
        shown = self.newest
        fault = "" if shown is None else self._fault(shown.inputs)
        return self._note or (f"Out of date: {fault}." if fault else "")

    def check(self) -> None:
        """Drop the requests, and hide the results, that do not stand; bring back those that do again."""
        self._timer.stop()
        situation = id(self._chosen()), self._choices()
        if situation != self._situation:
            self._situation = situation
            self._failure.clear()
        for purpose, inputs in list(self._pending.items()):
            if fault := self._fault(inputs):
                del self._pending[purpose]
                self._worker.forget(self._dock, purpose)
                self._note = f"The result was discarded: {fault} in the meantime."
        for source, shown in list(self._shown.items()):
            self._show_or_hide(source, shown)
        self.changed.emit()

    def _show_or_hide(self, source: str, shown: Shown) -> None:
        layer = shown.inputs.taken.layer
        lost = self._lost(shown.inputs)
        if lost or (not self._kept and (self._fault(shown.inputs) or self._lies_under_chosen(layer))):
            mark_stale(self._viewer, f"{source}/{self._keys}")
        else:
            restore_layers(self._viewer, shown.ids)
        if layer not in self._viewer.layers:
            del self._shown[source]

    def _fault(self, inputs: Inputs) -> str:
        """Return why a request does not stand, or an empty text."""
        return self._lost(inputs) or ("" if inputs.choices == self._choices() else "the model or a setting was changed")

    def _lost(self, inputs: Inputs) -> str:
        layers = self._viewer.layers
        if missing := [one.name for one in (inputs.taken.layer, *inputs.needs) if one not in layers]:
            return f"“{missing[0]}” was removed"
        touches = self._touches.get(inputs.taken.field.source.id, 0)
        if self._compared.get(inputs, (-1, ""))[0] != touches:
            self._compared[inputs] = touches, inputs.taken.difference()
        return self._compared[inputs][1]

    def _lies_under_chosen(self, layer: Any) -> bool:
        chosen = self._chosen()
        return chosen is not None and chosen is not layer and overlap(chosen, layer) > 0

    def _settle(self, purpose: str, inputs: Inputs) -> bool:
        """Tell whether an outcome is wanted; of a drag also that of an earlier request."""
        if self._pending.get(purpose) is not inputs:
            return not self._fault(inputs)
        self.check()  # may drop it
        return self._pending.pop(purpose, None) is not None

    def _watch(self, layer: Any) -> None:
        source = str(layer.unique_id)
        if source in self._touches:
            return
        self._touches[source] = 0
        for name in CHANGES:
            if hasattr(layer.events, name):
                connect_while_alive(self, getattr(layer.events, name), lambda _event=None: self._touch(source))

    def _touch(self, source: str) -> None:
        self._touches[source] += 1
        self._timer.start()
