"""Panel for measuring, correcting and exporting the selected labels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from napari.layers import Labels
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_sdmae.labels.label_map import LabelMap
from napari_sdmae.labels.serialization import plugin_metadata
from napari_sdmae.layers.labels import label_features
from napari_sdmae.widgets.base.collapsible import CollapsibleSection
from napari_sdmae.widgets.base.dialogs import ask_overwrite
from napari_sdmae.widgets.base.dock import form_layout, set_text
from napari_sdmae.widgets.base.error_line import FailureLine
from napari_sdmae.widgets.base.preferences import output_folder
from napari_sdmae.widgets.canvas import edit_labels as edit
from napari_sdmae.widgets.canvas.layer_region import ImageRegion, RegionError
from napari_sdmae.widgets.inputs.image import ImageInput
from napari_sdmae.widgets.inputs.labels import LabelsInput
from napari_sdmae.widgets.segment import label_requests as jobs
from napari_sdmae.widgets.segment.corrections import CorrectionPanel
from napari_sdmae.widgets.segment.export import ExportController
from napari_sdmae.widgets.segment.export_form import ExportForm
from napari_sdmae.widgets.segment.measurement_table import MeasurementTable
from napari_sdmae.widgets.segment.table_link import TableLink
from napari_sdmae.widgets.worker_client import query_worker
from napari_sdmae.worker.protocol import ErrorCode, SaveCorrectionsRequest, WorkerError


class LabelPanel(QWidget):
    """Table, corrections and export of the Labels layer that is chosen.

    Parameters
    ----------
    viewer
        The napari viewer.
    image
        The picture to which labels belong that were not made here.
    """

    def __init__(self, viewer: Any, image: ImageInput, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._image = image
        self._taken: dict[str, ImageRegion] = {}
        self._under_way: set[Labels] = set()
        self._export_waits = False
        self.labels = LabelsInput(viewer, self)
        self.table = MeasurementTable(self)
        self.link = TableLink(viewer, self.table, self)
        self.corrections = CorrectionPanel(viewer, self)
        self.export = ExportForm(self)
        self.measuring, self.saving = FailureLine(self), FailureLine(self)
        self.exporting = ExportController(viewer, self.export, image, self.choose, self)
        self._worker = query_worker()
        self._lay_out()
        self._connect()
        self._chosen()

    def show_labels(self, layer: Labels, taken: ImageRegion) -> None:
        """Work on `layer`, which was computed on the pixels `taken`."""
        self._taken[str(layer.unique_id)] = taken
        self.link.hide_marker()
        if edit.has_objects(layer):
            layer.selected_label = 0  # the object that was chosen is another one now
        self.choose(layer)

    def choose(self, layer: Labels) -> None:
        """Work on `layer`."""
        self.labels.refresh()
        self.labels.choose(layer)
        self._chosen()

    def refresh(self) -> None:
        """Look at the layers again: some may be out of date."""
        self.labels.refresh()

    def measure(self, layer: Labels) -> None:
        """Ask for the measurements of the labels of `layer` as they are now."""
        if layer not in self._viewer.layers or not edit.has_meaning(layer):
            return
        label_map = jobs.label_map_of(layer)
        try:
            taken = self._pixels(layer, label_map)
        except RegionError as error:
            self._not_measured(layer, WorkerError(ErrorCode.INVALID, str(error)))
            return
        if layer is self.labels.layer:
            self.measuring.clear()
            self.table.wait("Measuring…")
        self._under_way.add(layer)
        signature = edit.signature(layer)
        self._worker.submit(
            lambda: jobs.measure_request(label_map, taken),
            lambda measured: self._measured(layer, signature, measured),
            lambda error: self._not_measured(layer, error),
            user=self,
            purpose=f"measure {layer.unique_id}",
        )

    def save_corrections(self) -> None:
        """Write picture and labels as training data, beside the file of the picture."""
        layer = self.labels.layer
        if layer is None:
            return
        self.saving.clear()
        label_map, metadata = jobs.label_map_of(layer), plugin_metadata(layer)
        folder = Path(self.corrections.folder.get() or self._folder(layer))
        try:
            if not jobs.is_correction_of_pixels(layer):
                raise RegionError(
                    "Only labels drawn along tissue or nuclei become training data: export tiles and boxes as COCO."
                )
            pixels = self._pixels(layer, label_map)
            if pixels is None:
                raise RegionError("Open the picture to which these labels belong, and choose it above.")
        except RegionError as error:
            self.saving.set_text(str(error))
            return
        self._submit_correction(partial(jobs.corrections_request, label_map, pixels, metadata, folder), folder, replace=False)

    def _submit_correction(self, request: Callable[[bool], SaveCorrectionsRequest], folder: Path, *, replace: bool) -> None:
        set_text(self.corrections.state, "Saving…")
        self._worker.submit(
            lambda: request(replace),
            lambda file: self._saved(file, folder),
            lambda failure: self._not_saved(failure, request, folder),
            user=self,
            purpose="save",
        )

    def _export(self) -> None:
        """Write the labels, once their measurements are those of the labels as they are now."""
        self.corrections.flush()
        self._export_waits = self.labels.layer in self._under_way
        if self._export_waits:
            set_text(self.export.state, "Measuring the changes, then writing…")
        else:
            self.exporting.export()

    def _no_longer_measuring(self, layer: Labels) -> None:
        self._under_way.discard(layer)
        if self._export_waits and layer is self.labels.layer:
            self._export()

    def _folder(self, layer: Labels) -> Path:
        return jobs.corrections_folder(jobs.source_file(layer), edit.has_objects(layer), output_folder())

    def _pixels(self, layer: Labels, label_map: LabelMap) -> ImageRegion | None:
        """Return the pixels under the labels: those they were computed on, else those of the chosen image; None without any."""
        taken = self._taken.get(str(layer.unique_id))
        if taken is not None and taken.layer in self._viewer.layers and not taken.difference():
            return taken
        if self._image.layer is None:
            return None
        return jobs.pixels_under(label_map, self._image.layer, self._viewer.dims.point)

    def _measured(self, layer: Labels, signature: int, measured: LabelMap) -> None:
        if signature != edit.signature(layer):
            self.measure(layer)  # what was measured is not what is there
            return
        layer.features = label_features(measured)  # the link shows them
        self._no_longer_measuring(layer)

    def _not_measured(self, layer: Labels, failure: WorkerError) -> None:
        layer.features = layer.features.iloc[:0]  # old measurements of new labels would be wrong
        if layer is self.labels.layer:
            self.measuring.fail(failure)
        self._no_longer_measuring(layer)

    def _saved(self, file: Path, folder: Path) -> None:
        set_text(self.corrections.state, f"Saved as {file.stem} in {folder}. Fine-tune reads this folder.")

    def _not_saved(self, failure: WorkerError, request: Callable[[bool], SaveCorrectionsRequest], folder: Path) -> None:
        """Ask about the correction that was to be saved, whatever layer is chosen by now."""
        set_text(self.corrections.state, "")
        if failure.code is ErrorCode.ALREADY_SAVED:
            if ask_overwrite(self, "A correction of this part of the picture"):
                self._submit_correction(request, folder, replace=True)
            return
        self.saving.fail(failure)

    def _chosen(self) -> None:
        layer = self.labels.layer
        self._export_waits = False
        self.measuring.clear()
        self.saving.clear()
        self.corrections.watch(layer)
        self.link.watch(layer)
        self.exporting.watch(layer)
        if layer is not None and edit.has_meaning(layer):
            folder = self._folder(layer)
            self.corrections.folder.text.setPlaceholderText(str(folder))
            self.table.suggested = folder.parent / f"{jobs.suggested_file('', layer.name, folder).name}-measurements.csv"

    def _connect(self) -> None:
        self.labels.changed.connect(self._chosen)
        self.corrections.edited.connect(self.measure)
        self.corrections.touched.connect(lambda: self.table.wait("The labels have changed: measured again when you pause."))
        self.corrections.untouched.connect(self.link.refresh)
        self.corrections.save_asked.connect(lambda: self.save_corrections())
        self.export.export_asked.connect(self._export)
        self.table.failed.connect(self.measuring.set_text)
        self.table.saved.connect(lambda path: set_text(self.table.count, f"Written: {path}"))

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(form_layout([("Labels", self.labels.box)]))
        measured, corrected = QWidget(self), QWidget(self)
        for content, parts in ((measured, (self.table, self.measuring)), (corrected, (self.corrections, self.saving))):
            inner = QVBoxLayout(content)
            inner.setContentsMargins(0, 0, 0, 0)
            for part in parts:
                inner.addWidget(part)
        column.addWidget(CollapsibleSection("Measurements", measured, unfolded=True, parent=self))
        column.addWidget(CollapsibleSection("Correct", corrected, parent=self))
        column.addWidget(CollapsibleSection("Export", self.export, parent=self))
