"""Dock widget Reconstruct: hide patches of a picture, let the model paint them, see where it errs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.layers.base import Field, LayerData, beside, derived, layer_id, robust_limits
from napari_sdmae.notices import RECONSTRUCTION, reconstruction_note
from napari_sdmae.widgets.base.dock import Dock, form_layout, set_text
from napari_sdmae.widgets.base.error_line import FailureLine
from napari_sdmae.widgets.base.help import add_help
from napari_sdmae.widgets.base.preferences import device_arguments, output_folder, preference, remember, remembered
from napari_sdmae.widgets.base.standing import Inputs, Standing
from napari_sdmae.widgets.base.text import CommandLine, text_label
from napari_sdmae.widgets.canvas.command_line import NoCommandLine, image_arguments, shell_line
from napari_sdmae.widgets.canvas.drop import accept_drop
from napari_sdmae.widgets.canvas.layer_region import ImageRegion, RegionError
from napari_sdmae.widgets.canvas.show_layers import find_layer, look_at, update_layers
from napari_sdmae.widgets.forms.editors import FloatBox, IntBox
from napari_sdmae.widgets.inputs.image import ImageInput
from napari_sdmae.widgets.inputs.model import ModelInput
from napari_sdmae.worker.protocol import ReconstructRequest, ReconstructResult, WorkerError

KEYS = "reconstruct/"
PICTURES = ("masked", "reconstruction", "error")


@dataclass(frozen=True, eq=False)
class Reconstructed:
    """A result on its field, and the line that is shown with it."""

    taken: ImageRegion
    result: ReconstructResult
    line: str


def reconstruction_layers(field: Field, result: ReconstructResult, side_by_side: bool) -> list[LayerData]:
    """Return masked, reconstruction and error as layers: on the picture, or beside it from left to right."""
    how = result.model.target_normalisation
    provenance = {
        "model": result.model.to_dict(),
        "note": reconstruction_note(how),
        "parameters": {"mask_ratio": result.mask_ratio, "seed": result.seed, "target_normalisation": how},
    }
    arrays: tuple[NDArray[Any], ...] = result.masked, result.reconstruction, result.error
    layers = []
    for place, (name, pixels) in enumerate(zip(PICTURES, arrays, strict=True), start=1):
        style: dict[str, Any] = (
            {"rgb": True} if name != "error" else {"colormap": "inferno", "contrast_limits": robust_limits(pixels)}
        )
        style |= {} if side_by_side else {"visible": name == "reconstruction"}
        where = beside(field, place) if side_by_side else field
        layers.append(derived(where, pixels, name, f"{KEYS}{name}", provenance, **style))
    return layers


class ReconstructWidget(Dock):
    """Image and model in; masked picture, reconstruction and error as layers."""

    def __init__(self, napari_viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = napari_viewer
        content = QWidget(self)
        self.image = ImageInput(napari_viewer, content)
        self.model = ModelInput(content)
        bounds = PretrainConfig.model_fields["mask_ratio"]
        self.mask_ratio = FloatBox(0.01, 0.99)
        self.mask_ratio.set(remembered("reconstruct.mask_ratio", float(bounds.default)))
        self.mask_ratio.setToolTip("Fraction of patches hidden from the model.")
        self.seed = IntBox(0, 2**31 - 1)
        self.seed.setToolTip("Same seed, same hidden patches.")
        self.new_mask = QPushButton("New mask", content)
        self.new_mask.setToolTip("Hide other patches: the next seed.")
        self.side_by_side = QCheckBox("Side by side", content)
        self.side_by_side.setToolTip("Show the three pictures to the right of the image; otherwise on top of it.")
        self.side_by_side.setChecked(True)
        self.button = QPushButton("Reconstruct", content)
        self.reason_line, self.state, self.note = text_label(), text_label(), text_label(RECONSTRUCTION)
        self.failure = FailureLine(content)
        self.command_line = CommandLine(content)
        self.standing = Standing(napari_viewer, KEYS, lambda: self.image.layer, self._choices, self, self.failure)
        self._lay_out(content)
        self.set_content(content)
        accept_drop(self, self.model.take)
        add_help(self, "reconstruct")
        self._connect()
        set_text(self.state, "")
        self._enable()

    def _lay_out(self, content: QWidget) -> None:
        seed = QHBoxLayout()
        seed.addWidget(self.seed, 1)
        seed.addWidget(self.new_mask)
        column = QVBoxLayout(content)
        column.setContentsMargins(6, 6, 6, 6)
        column.addLayout(
            form_layout(
                [
                    *self.image.rows,
                    ("Model", self.model),
                    ("Mask ratio", self.mask_ratio),
                    ("Seed", seed),
                    ("", self.side_by_side),
                ]
            )
        )
        for widget in (self.button, self.reason_line, self.failure, self.state, self.note, self.command_line):
            column.addWidget(widget)
        column.addStretch(1)

    def _connect(self) -> None:
        self.button.clicked.connect(lambda: self.reconstruct())
        self.new_mask.clicked.connect(self._next_mask)
        self.side_by_side.toggled.connect(self._rearrange)
        for signal in (self.image.changed, self.model.changed, self.mask_ratio.edited, self.seed.edited):
            signal.connect(self.standing.check)
            signal.connect(self._enable)
        self.standing.changed.connect(self._tell)

    def reconstruct(self) -> None:
        """Hide patches of the chosen field and ask for the reconstruction."""
        try:
            taken = self.image.take(self.model.info.mpp if self.model.info else None)
        except RegionError as error:
            self.failure.set_text(str(error))
            return
        self.model.used()
        remember("reconstruct.mask_ratio", self.mask_ratio.get())
        self.failure.clear()
        self._enable()
        set_text(self.state, "Reconstructing…")
        inputs, start = Inputs(taken, self._choices()), time.perf_counter()
        folder, mask_ratio, seed, device = self.model.folder, self.mask_ratio.get(), self.seed.get(), preference("device")
        self.standing.submit(
            inputs,
            lambda: ReconstructRequest(folder, taken.pixels, mask_ratio, seed, device),
            lambda now, result: self._receive(inputs, now, result, time.perf_counter() - start),
            lambda error: self._fail(taken, error),
            purpose="reconstruct",
        )

    def command(self) -> str:
        """Return the command that writes the same pictures.

        Raises
        ------
        NoCommandLine
            If there is none.
        """
        parts = [
            "sdmae",
            "reconstruct",
            self.model.model,
            *image_arguments(self.image.repeated(self.model.info.mpp if self.model.info else None), self.image.file),
            *device_arguments(),
            "--output",
            str(output_folder() / "reconstruct"),
            "--mask-ratio",
            f"{self.mask_ratio.get():g}",
            "--seed",
            str(self.seed.get()),
        ]
        return shell_line(parts)

    def _next_mask(self) -> None:
        self.seed.set(self.seed.get() + 1)
        self.reconstruct()

    def _choices(self) -> tuple[Any, ...]:
        return self.model.identity, self.mask_ratio.get(), self.seed.get()

    def _receive(self, inputs: Inputs, taken: ImageRegion, result: ReconstructResult, seconds: float) -> None:
        line = f"Mean error of the hidden pixels: {result.mean_error:.3f} (0 to 1). Done in {seconds:.1f} s."
        shown = Reconstructed(taken, result, line)
        self.standing.show(inputs, shown, self._draw(shown))

    def _tell(self) -> None:
        """Say what is true of the chosen picture."""
        shown = self.standing.current
        if not self.standing.waiting("reconstruct"):
            set_text(self.state, self.standing.note if shown is None else shown.content.line)

    def _draw(self, one: Reconstructed, look: bool = False) -> list[str]:
        side_by_side = self.side_by_side.isChecked()
        layers = reconstruction_layers(one.taken.field, one.result, side_by_side)
        missing = any(find_layer(self._viewer, layer_id(layer)) is None for layer in layers)
        shown = update_layers(self._viewer, layers)
        if look or (side_by_side and missing):  # they came or went beside the picture: mostly off screen
            look_at(self._viewer, [*shown, *([] if one.taken.field.width else [one.taken.layer])])
        return [layer_id(layer) for layer in layers]

    def _rearrange(self, side_by_side: bool) -> None:
        """Move the pictures; on top of each other only one can be seen."""
        current = self.standing.current
        if current is None:
            return
        shown: Reconstructed = current.content
        self._draw(shown, look=True)
        for name in PICTURES:
            layer = find_layer(self._viewer, f"{shown.taken.field.source.id}/{KEYS}{name}")
            if layer is not None:
                layer.visible = side_by_side or name == "reconstruction"

    def _fail(self, taken: ImageRegion, failure: WorkerError) -> None:
        self.failure.fail(failure)
        self.standing.withdraw(taken.field.source.id)

    def _reason(self) -> str:
        if self.image.layer is None:
            return "Open a picture first, for example with File > Open Sample > SD-MAE."
        if self.model.info is not None and not self.model.info.has_decoder:
            return "This model is an encoder without decoder: it cannot reconstruct. Choose a pre-training run."
        return self.model.problem

    def _enable(self) -> None:
        reason = self._reason()
        how = self.model.info.target_normalisation if self.model.info else None
        set_text(self.note, f"{reconstruction_note(how)} {RECONSTRUCTION}".strip())
        for button in (self.button, self.new_mask):
            button.setEnabled(not reason)
        set_text(self.reason_line, reason)
        try:
            self.command_line.show_command("" if reason else self.command())
        except NoCommandLine as error:
            self.command_line.show_command("", str(error))
