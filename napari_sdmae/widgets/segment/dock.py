"""Dock widget Segment: a head's labels over a picture, corrected, measured, and taken elsewhere."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from napari.layers import Labels
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_sdmae.contributions.readers import labels_at
from napari_sdmae.layers.base import layer_id
from napari_sdmae.widgets.base.dialogs import ask_replace_corrected
from napari_sdmae.widgets.base.dock import Dock, set_text
from napari_sdmae.widgets.base.help import add_help
from napari_sdmae.widgets.base.preferences import device_arguments, output_folder, preference
from napari_sdmae.widgets.base.standing import Inputs, Standing
from napari_sdmae.widgets.canvas import edit_labels as edit
from napari_sdmae.widgets.canvas.command_line import NoCommandLine, image_arguments, shell_line
from napari_sdmae.widgets.canvas.drop import accept_drop
from napari_sdmae.widgets.canvas.layer_region import ImageRegion, RegionError, source_text
from napari_sdmae.widgets.canvas.show_layers import find_layer, is_shown, update_layers
from napari_sdmae.widgets.inputs.head import is_head
from napari_sdmae.widgets.segment.controls import SegmentControls
from napari_sdmae.widgets.segment.label_panel import LabelPanel
from napari_sdmae.widgets.segment.view import KEYS, LABELS, result_layers, summary
from napari_sdmae.worker.protocol import SegmentRequest, SegmentResult, WorkerError

PURPOSE = "segment"


class SegmentWidget(Dock):
    """Head and picture in; labels over the picture, which are then measured, corrected and exported."""

    def __init__(self, napari_viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = napari_viewer
        content = QWidget(self)
        self.controls = SegmentControls(napari_viewer, content)
        self.desk = LabelPanel(napari_viewer, self.controls.image, content)
        image = self.controls.image
        self.standing = Standing(napari_viewer, KEYS, lambda: image.layer, self._choices, self, self.controls.failure, kept=True)
        column = QVBoxLayout(content)
        column.setContentsMargins(6, 6, 6, 6)
        column.addWidget(self.controls)
        column.addWidget(self.desk)
        column.addStretch(1)
        self.set_content(content)
        accept_drop(self, self.take_dropped)
        add_help(self, "segment")
        self.controls.button.clicked.connect(lambda: self.segment())
        self.controls.cancel.clicked.connect(self.cancel)
        self.controls.changed.connect(self.standing.check)
        self.standing.changed.connect(self._tell)
        self._tell()

    def choose_head(self, path: Path) -> None:
        """Choose the head in the run folder or head folder `path`."""
        self.controls.head.choose(path)

    def take_dropped(self, path: Path) -> None:
        """Open the labels, or choose the head, that were dropped on the dock."""
        files = [] if is_head(path) else labels_at(path)
        if len(files) == 1:
            self.desk.exporting.open(files[0])
        elif files:
            self.controls.failure.set_text(f"Drop one file of labels, not the {len(files)} in {path.name}.")
        else:
            self.controls.head.take(path)

    def segment(self) -> None:
        """Ask the head about the chosen part of the picture."""
        controls = self.controls
        try:
            taken = controls.image.take(controls.mpp)
        except RegionError as error:
            controls.failure.set_text(str(error))
            if controls.image.layer is not None:
                self.standing.withdraw(str(controls.image.layer.unique_id))
            return
        if not self._may_replace(taken):
            return
        controls.used()
        controls.failure.clear()
        set_text(controls.state, "Segmenting…")
        inputs, start = Inputs(taken, self._choices()), time.perf_counter()
        folder, options, device = controls.head.folder, controls.options, preference("device")
        self.standing.submit(
            inputs,
            lambda: SegmentRequest(folder, taken.pixels, mpp=taken.field.mpp, device=device, **options),
            lambda now, result: self._receive(inputs, now, result, time.perf_counter() - start),
            lambda error: self._fail(taken, error),
            purpose=PURPOSE,
        )
        self._tell()

    def cancel(self) -> None:
        """Stop computing; what was shown before stays."""
        self.standing.cancel(PURPOSE)

    def command(self) -> str:
        """Return the command that writes the same labels.

        Raises
        ------
        NoCommandLine
            If there is none.
        """
        controls = self.controls
        taken = controls.image.repeated(controls.mpp)
        parts = ["sdmae", "predict", controls.head.model, *image_arguments(taken, controls.image.file), *device_arguments()]
        return shell_line([*parts, "--output", str(output_folder() / "segment"), *controls.arguments])

    def _choices(self) -> tuple[Any, ...]:
        return self.controls.head.identity, tuple(sorted(self.controls.options.items()))

    def _receive(self, inputs: Inputs, taken: ImageRegion, result: SegmentResult, seconds: float) -> None:
        file = self.controls.image.file_of(taken.layer)
        layers = result_layers(taken.field, result, source_text(file, taken.layer))
        shown = update_layers(self._viewer, layers)
        labels = next(layer for layer in shown if isinstance(layer, Labels))
        edit.remember_original(labels)
        self.desk.show_labels(labels, taken)
        self.standing.show(inputs, summary(result, seconds), [layer_id(layer) for layer in layers])

    def _fail(self, taken: ImageRegion, failure: WorkerError) -> None:
        self.controls.failure.fail(failure)
        self.standing.withdraw(taken.field.source.id)

    def _tell(self) -> None:
        """Say what is true of the chosen picture."""
        waiting, shown = self.standing.waiting(PURPOSE), self.standing.current
        if not waiting:
            set_text(self.controls.state, self.standing.note if shown is None else shown.content)
        self.controls.busy(waiting)
        self.desk.refresh()
        self._enable()

    def _may_replace(self, taken: ImageRegion) -> bool:
        """Ask what becomes of labels corrected by hand; tell whether to go on."""
        layer = find_layer(self._viewer, f"{taken.field.source.id}/{LABELS}")
        if not isinstance(layer, Labels) or not is_shown(layer) or not edit.is_corrected(layer):
            return True
        answer = ask_replace_corrected(self, layer.name)
        if answer == "keep":
            edit.detach_corrected(layer)
        return answer != "cancel"

    def _enable(self) -> None:
        controls = self.controls
        reason = controls.reason()
        controls.button.setEnabled(not reason and not self.standing.waiting(PURPOSE))
        set_text(controls.reason_line, reason)
        try:
            controls.command_line.show_command("" if reason else self.command())
        except NoCommandLine as error:
            controls.command_line.show_command("", str(error))
