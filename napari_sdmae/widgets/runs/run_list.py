"""The Runs page: what is in the folder of runs, with date, epoch, loss and a thumbnail."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from qtpy.QtCore import QRect, QSize, Qt, Signal
from qtpy.QtGui import QIcon, QImage, QPixmap, QResizeEvent
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QListView, QListWidget, QListWidgetItem, QPushButton, QVBoxLayout, QWidget

from napari_sdmae.humanize import plain
from napari_sdmae.io.regular_files import is_regular
from napari_sdmae.runs.folder import RunFolder, RunStatus, is_alive
from napari_sdmae.runs.kind import Kind, run_kind
from napari_sdmae.runs.run_list import FoundRuns, find_runs
from napari_sdmae.text.printable import printable
from napari_sdmae.widgets.base.text import text_label

THUMBNAIL = QSize(96, 48)
BESIDE = 24
"""Pixels of a line that neither picture nor text may take."""
COLUMNS = {"pretrain": 4, "finetune": 3, None: 4}
"""Pictures side by side in the contact sheets of a run: input, masked, reconstruction, error; or input, truth, prediction."""


@dataclass(frozen=True)
class RunEntry:
    """One line of the list; `picture` is the contact sheet of the newest preview, where there is one."""

    run: Path
    text: str
    picture: Path | None


def run_entries(found: FoundRuns, kind: Kind | None = None) -> list[RunEntry]:
    """Return the runs that were `found`, newest first; of one `kind` alone, with those of which nobody knows it yet."""
    runs = [(run, status) for run, status in reversed(found.runs) if kind is None or run_kind(run.path) in (None, kind)]
    return [RunEntry(run.path, entry_text(printable(run.path.name), status), _picture(run)) for run, status in runs]


def entry_text(name: str, status: RunStatus) -> str:
    """Return what the list says about a run: name; date, state; epoch, loss; of fine-tuning its best validation number."""
    day = datetime.fromtimestamp(status.started).strftime("%Y-%m-%d %H:%M")
    loss = "" if status.loss is None else f" · loss {status.loss:.4g}"
    best = "" if status.best is None else f"\nbest {plain(status.best_metric)} {status.best:.3f}"
    state = f"{status.state}?" if is_alive(status) is None else status.state
    return f"{name}\n{day} · {state}\nepoch {status.epoch:.3g} of {status.epochs}{loss}{best}"


def _picture(run: RunFolder) -> Path | None:
    pictures = sorted(path for path in run.previews_folder.glob("epoch-*.png") if is_regular(path))
    return pictures[-1] if pictures else None


def thumbnail(picture: Path | None, columns: int = 4) -> QIcon:
    """Return the second and third picture of a contact sheet with so many `columns`, or an empty icon.

    Of pre-training they are the masked tile and its reconstruction, of fine-tuning the labels and the prediction.
    """
    image = QImage(str(picture)) if picture else QImage()
    if image.isNull():
        empty = QPixmap(THUMBNAIL)
        empty.fill(Qt.GlobalColor.transparent)
        return QIcon(empty)
    edge = image.width() // columns
    middle = image.copy(edge, 0, 2 * edge, edge)
    ratio, smooth = Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
    return QIcon(QPixmap.fromImage(middle).scaled(THUMBNAIL, ratio, smooth))


class RunList(QWidget):
    """Lists the runs of a folder, all or of one `kind`. ``run_chosen(Path)`` says which one to watch."""

    run_chosen = Signal(object)

    def __init__(self, kind: Kind | None = None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._kind = kind
        self._root = Path()
        self.note = text_label(parent=self)
        self.list = QListWidget(self)
        self.list.setIconSize(THUMBNAIL)
        self.list.setMinimumHeight(260)
        self.list.setSpacing(2)
        self.list.setWordWrap(True)
        self.list.setResizeMode(QListView.ResizeMode.Adjust)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.open = QPushButton("Open", self)
        self.open.setToolTip("Watch this run; it can be resumed from there.")
        self.refresh_button = QPushButton("Refresh", self)
        self.other = QPushButton("Other run folder…", self)
        self.other.setToolTip("Watch a run anywhere, also one that trains on another machine over a shared disk.")
        self._lay_out()

    def show_runs(self, root: Path) -> None:
        """List the runs in `root`."""
        self._root = root
        self.refresh()

    def refresh(self) -> None:
        """Read the folder again."""
        found = find_runs(self._root)
        entries = run_entries(found, self._kind)
        self.list.clear()
        for entry in entries:
            item = QListWidgetItem(thumbnail(entry.picture, COLUMNS[self._kind]), entry.text)
            item.setData(Qt.ItemDataRole.UserRole, str(entry.run))
            item.setToolTip(str(entry.run))
            self.list.addItem(item)
        self._fit()
        counted = f"Runs in {self._root}" if entries else f"No runs in {self._root} yet."
        self.note.setText("\n".join([counted, *(f"{path.name} cannot be read: {reason}" for path, reason in found.unreadable)]))
        self._select()

    def choose_other(self) -> None:
        """Let a person pick a run folder anywhere."""
        chosen = QFileDialog.getExistingDirectory(self, "Choose a run folder", str(self._root))
        if chosen:
            self.run_chosen.emit(Path(chosen))

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Give the texts the height that they need at the new width."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        """Give every run room for all its lines: Qt leaves the picture beside them out of account, and cuts the last ones."""
        room = QRect(0, 0, self.list.viewport().width() - THUMBNAIL.width() - BESIDE, 10_000)
        for row in range(self.list.count()):
            item: Any = self.list.item(row)
            lines = self.list.fontMetrics().boundingRect(room, Qt.TextFlag.TextWordWrap, item.text())
            item.setSizeHint(QSize(0, max(lines.height(), THUMBNAIL.height()) + 8))

    def _choose(self) -> None:
        item = self.list.currentItem()
        if item is not None:
            self.run_chosen.emit(Path(item.data(Qt.ItemDataRole.UserRole)))

    def _select(self) -> None:
        self.open.setEnabled(self.list.currentItem() is not None)

    def _lay_out(self) -> None:
        self.open.clicked.connect(self._choose)
        self.list.itemDoubleClicked.connect(lambda _: self._choose())
        self.list.currentItemChanged.connect(lambda *_: self._select())
        self.refresh_button.clicked.connect(self.refresh)
        self.other.clicked.connect(self.choose_other)
        buttons = QHBoxLayout()
        buttons.addWidget(self.open)
        buttons.addWidget(self.refresh_button)
        column = QVBoxLayout(self)
        column.addWidget(self.note)
        column.addWidget(self.list)
        column.addLayout(buttons)
        column.addWidget(self.other)
        column.addStretch()
