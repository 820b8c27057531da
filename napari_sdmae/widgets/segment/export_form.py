"""Where labels go: format, file, and what they are in QuPath. It writes nothing itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QFileDialog, QHBoxLayout, QPushButton, QToolButton, QVBoxLayout, QWidget

from napari_sdmae.io.labels.geojson.write import ObjectType
from napari_sdmae.io.labels.registry import FORMATS
from napari_sdmae.widgets.base.dock import form_layout, set_text
from napari_sdmae.widgets.base.error_line import FailureLine
from napari_sdmae.widgets.base.preferences import remember, remembered
from napari_sdmae.widgets.base.text import CommandLine, text_label
from napari_sdmae.widgets.canvas.drop import accept_drop
from napari_sdmae.widgets.forms.editors import Choice, TextEdit

FORMAT = "segment.format"
OBJECT_TYPES: dict[ObjectType | None, str] = {
    None: "Automatic",
    "annotation": "Annotations",
    "detection": "Detections",
    "cell": "Cells",
}
ABOUT_TYPES = "What each label becomes in QuPath. Automatic: cell or detection; classes: annotation."


class ExportOptions(TypedDict):
    """Format, and for GeoJSON what the labels become in QuPath and the slide whose bounds are subtracted."""

    format: str
    object_type: ObjectType | None
    bounds: str | None


@dataclass(frozen=True)
class Wanted:
    """What a person wants to write: file, format, and the options of GeoJSON."""

    path: Path
    format: str
    object_type: ObjectType | None = None
    bounds: str | None = None

    @property
    def options(self) -> ExportOptions:
        """Format and options as the worker gets them."""
        return {"format": self.format, "object_type": self.object_type, "bounds": self.bounds}

    @property
    def arguments(self) -> list[str]:
        """The same for the command line."""
        kind = [] if self.object_type is None else ["--object-type", self.object_type]
        bounds = [] if self.bounds is None else ["--bounds", self.bounds]
        return ["--output", str(self.path), "--format", self.format, *kind, *bounds]


class ExportForm(QWidget):
    """Format, file and options of GeoJSON; buttons to export and to open labels.

    Emits ``export_asked`` and ``open_asked`` when a button is pressed, and ``changed`` when something else is wanted.
    """

    export_asked = Signal()
    open_asked = Signal()
    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        titles = {name: one.title for name, one in FORMATS.items()}
        self.format_box = Choice(titles, self, tooltip="What the file is for. Every format except the table can be opened again.")
        for index, one in enumerate(FORMATS.values()):
            tooltip = f"Opening it again restores: {one.keeps}." if one.keeps else "A table only: it cannot be opened as labels."
            self.format_box.setItemData(index, tooltip, Qt.ItemDataRole.ToolTipRole)
        self.format_box.setCurrentIndex(max(0, self.format_box.findData(remembered(FORMAT, "geojson"))))
        self.file = TextEdit(self)
        self.file.setPlaceholderText("choose a file")
        self.browse_button = QToolButton(self)
        self.browse_button.setText("…")
        self.browse_button.setToolTip("Choose the file to write.")
        self.type_box = Choice(OBJECT_TYPES, self, tooltip=ABOUT_TYPES)
        self.subtract = QCheckBox("Subtract slide bounds", self)
        self.subtract.setToolTip(
            "For slides that QuPath crops to the scanned part (openslide.bounds): its coordinates begin there."
        )
        self.geojson = QWidget(self)
        self.button = QPushButton("Export", self)
        self.open_button = QPushButton("Open labels…", self)
        self.open_button.setToolTip("Show labels that were exported, or GeoJSON of QuPath, on the image chosen above.")
        self.reason_line, self.state = text_label(parent=self), text_label(parent=self)
        self.failure = FailureLine(self)
        self.command_line = CommandLine(self)
        self.slide = ""
        self._lay_out()
        self._connect()
        self._fit_format()
        accept_drop(self.file, self.take)

    @property
    def format(self) -> str:
        """Name of the chosen format."""
        return str(self.format_box.get())

    @property
    def wanted(self) -> Wanted | None:
        """What is to be written; None while no file is chosen."""
        if not self.file.get():
            return None
        path = Path(self.file.get()).expanduser()
        if self.format != "geojson":
            return Wanted(path, self.format)
        bounds = self.slide if self.subtract.isChecked() and self.slide else None
        return Wanted(path, self.format, self.type_box.get(), bounds)

    def suggest(self, stem: Path) -> None:
        """Offer the file `stem` with the suffix of the format, unless a person has chosen another."""
        self._stem = stem
        if not self._chosen:
            self.file.set(str(_with_suffix(stem, self.format)))
            self._chosen = False

    def choose(self, path: Path) -> None:
        """Choose the file `path`; the format's suffix is added where none of its suffixes is there."""
        self.file.set(str(_with_suffix(path, self.format)))
        self._chosen = True

    def take(self, path: Path) -> None:
        """Choose the file, or the folder for the file, that was dropped."""
        self.choose(path / Path(self.file.get() or "labels").name if path.is_dir() and path.suffix != ".zarr" else path)

    def fit_slide(self, file: str) -> None:
        """Say which slide the labels belong to; without one there are no bounds."""
        self.slide = file
        self.subtract.setEnabled(bool(file))

    def used(self) -> None:
        """Remember the format: a file was written."""
        remember(FORMAT, self.format)

    @staticmethod
    def readable(format: str) -> bool:
        """Tell whether labels in this format can be opened again."""
        return bool(FORMATS[format].keeps)

    _chosen = False
    _stem: Path | None = None

    def _browse(self) -> None:
        one = FORMATS[self.format]
        ends = " ".join(f"*{suffix}" for suffix in one.suffixes)
        chosen, _ = QFileDialog.getSaveFileName(
            self,
            "Export labels",
            self.file.get(),
            f"{one.title.replace('(', '').replace(')', '')} ({ends})",
            options=QFileDialog.Option.DontConfirmOverwrite,  # asked when it is written
        )
        if chosen:
            self.choose(Path(chosen))

    def _fit_format(self) -> None:
        self.geojson.setVisible(self.format == "geojson")
        if self._stem is not None and not self._chosen:
            self.suggest(self._stem)
        elif self.file.get():
            self.file.set(str(_with_suffix(_without_suffix(Path(self.file.get())), self.format)))
        self.changed.emit()

    def _typed(self, _text: str) -> None:
        self._chosen = bool(self.file.get())

    def _connect(self) -> None:
        self.format_box.edited.connect(self._fit_format)
        self.type_box.edited.connect(self.changed)
        self.subtract.toggled.connect(lambda _: self.changed.emit())
        self.file.textEdited.connect(self._typed)
        self.file.edited.connect(self.changed)
        self.browse_button.clicked.connect(self._browse)
        self.button.clicked.connect(self.export_asked)
        self.open_button.clicked.connect(self.open_asked)

    def _lay_out(self) -> None:
        path = QHBoxLayout()
        path.addWidget(self.file, 1)
        path.addWidget(self.browse_button)
        special = QVBoxLayout(self.geojson)
        special.setContentsMargins(0, 0, 0, 0)
        special.addLayout(form_layout([("In QuPath", self.type_box)]))
        special.addWidget(self.subtract)
        buttons = QHBoxLayout()
        buttons.addWidget(self.button, 1)
        buttons.addWidget(self.open_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(form_layout([("Format", self.format_box), ("File", path)]))
        column.addWidget(self.geojson)
        column.addLayout(buttons)
        for widget in (self.reason_line, self.failure, self.state, self.command_line):
            column.addWidget(widget)
        for label in (self.reason_line, self.state):
            set_text(label, "")


def _with_suffix(path: Path, format: str) -> Path:
    """Return `path` with a suffix of `format`: its own if it is one, else the usual one is added."""
    suffixes = FORMATS[format].suffixes
    return path if path.name.lower().endswith(suffixes) else path.with_name(f"{path.name}{suffixes[0]}")


def _without_suffix(path: Path) -> Path:
    """Return `path` without the suffix of any format."""
    ends = sorted({suffix for one in FORMATS.values() for suffix in one.suffixes}, key=len, reverse=True)
    name = path.name
    found = next((end for end in ends if name.lower().endswith(end)), "")
    return path.with_name(name[: len(name) - len(found)]) if found and len(name) > len(found) else path
