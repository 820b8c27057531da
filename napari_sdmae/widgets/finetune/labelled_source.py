"""Where the labelled images come from: files, or what was painted or drawn in the viewer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from napari.layers import Image, Labels, Shapes
from qtpy.QtWidgets import QCheckBox, QLabel, QWidget

from napari_sdmae.config.finetune import Task
from napari_sdmae.data.labelled.write import free_value, write_coco_boxes, write_labelled_folder
from napari_sdmae.humanize import several
from napari_sdmae.widgets.canvas.annotations import annotations_from_labels, annotations_from_shapes, classes_of, find_pairs
from napari_sdmae.widgets.canvas.crops import LayerPair
from napari_sdmae.widgets.canvas.picture import grouped
from napari_sdmae.widgets.finetune.words import SOURCES
from napari_sdmae.widgets.forms.data_edit import DataEdit
from napari_sdmae.widgets.forms.editors import TextEdit
from napari_sdmae.widgets.inputs.images_source import SourcePicker


class LabelledSource(SourcePicker):
    """Lets a person choose labelled files, or take painted Labels and drawn Shapes, in the words of the task.

    Notes
    -----
    ``changed()`` when :attr:`path` changed; ``layers_requested()`` when the selected layers are to be taken.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        self.words = SOURCES["segmentation"]
        super().__init__(parent, folder=DataEdit())
        self.folder.text.setPlaceholderText("folder, table or COCO file")
        self.task: Task = "segmentation"
        self.ignore_value = 255
        self.background = QCheckBox("What is not painted is background", self)
        self.background.setToolTip("Off: what is not painted is not learned. On: it is a class of its own, with value 0.")
        self.names_label = QLabel("Class names", self)
        self.names = TextEdit(self)
        self.names.setPlaceholderText("tumour, stroma, …")
        self.names.setToolTip(
            "With commas, in the order of their numbers. Empty: the names the layer knows, or class 1, class 2 …"
        )
        column: Any = self.layers.layout()
        for place, widget in enumerate((self.names_label, self.names, self.background)):
            column.insertWidget(place, widget)

    def set_task(self, task: Task) -> None:
        """Use the words of `task`; what was taken for another task is not used for this one."""
        if task == self.task:
            return
        self.task, self.words = task, SOURCES[task]
        self._taken = None
        self.from_folder.setText(self.words.folder)
        self.from_layers.setText(self.words.layers)
        self.from_layers.setVisible(task != "classification")
        self.background.setVisible(task == "segmentation")
        self.note.setText(self.words.hint)
        if task == "classification":
            self.from_folder.setChecked(True)
        self.changed.emit()

    def take_painted(self, layers: Sequence[Any], selected: Sequence[Any], point: Sequence[float], folder: Path) -> None:
        """Write what is painted or drawn in the `selected` of `layers` into `folder`, which then is the source.

        Images that are not selected are found by where the labels lie.
        """
        kind: type[Any] = Shapes if self.task == "detection" else Labels
        labels = [layer for layer in selected if isinstance(layer, kind)]
        if not labels:
            self.refuse(f"No {kind.__name__} layer is selected. Select those you painted in the layer list.")
            return
        among = [layer for layer in selected if isinstance(layer, Image)] or [
            layer for layer in layers if isinstance(layer, Image)
        ]
        pairs = find_pairs(layers, labels, grouped(among))
        if not pairs:
            self.refuse("These labels lie over no image layer. Open the image they belong to, or select it with them.")
            return
        self.take_by(self._writer(pairs, list(point), folder))

    def take_files(self, folder: Path, ignore_value: int | None = None) -> None:
        """Use what lies in `folder` already."""
        self.ignore_value = 255 if ignore_value is None else ignore_value
        self.from_folder.setChecked(True)
        self.folder.set(folder)

    def _writer(self, pairs: Sequence[LayerPair], point: Sequence[float], folder: Path) -> Callable[[], tuple[Path, str]]:
        task, background = self.task, self.background.isChecked()
        names = [name.strip() for name in self.names.get().split(",")] if self.names.get() else []

        def write() -> tuple[Path, str]:
            classes = classes_of(pairs, task, names, background=background and task == "segmentation")
            if task == "detection":
                pictures = annotations_from_shapes(pairs, point)
                path = write_coco_boxes(pictures, folder, classes)
                what = several(sum(len(picture.boxes) for picture in pictures), "box", "boxes")
            else:
                pictures = annotations_from_labels(pairs, task, point)
                self.ignore_value = free_value(one.value for one in classes)
                unpainted = None if background else self.ignore_value
                path = write_labelled_folder(pictures, folder, classes, task=task, unpainted=unpainted)  # type: ignore[arg-type]
                what = ", ".join(one.name for one in classes)
            over = ", ".join(f"{pair.labels.name} on {pair.image.name}" for pair in pairs)
            return path, f"Using: {over} ({what}; {several(len(pictures), 'picture', 'pictures')}, kept in {folder})"

        return write
