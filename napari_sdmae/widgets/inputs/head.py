"""Choose a fine-tuned head: a run folder, a head folder or one that comes with the package; recent ones first."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QSizePolicy, QWidget

from napari_sdmae.config.head import HeadSpec
from napari_sdmae.humanize import plain, sentence
from napari_sdmae.io.model_info.describe import SHIPPED
from napari_sdmae.io.model_info.head import read_head_spec
from napari_sdmae.io.model_info.info import model_info, shipped_heads
from napari_sdmae.widgets.base.dock import set_text
from napari_sdmae.widgets.canvas.drop import holder
from napari_sdmae.widgets.inputs.model import ModelInput, identity_of, look_at

RECENT = "heads"
HEAD_FILES = ("status.json", "config.json")
MISSING = "Choose a head: the folder of a fine-tuning run, or a head folder."
TASKS = {
    "segmentation": "a class for each pixel",
    "instances": "outlines each nucleus",
    "classification": "one class per tile",
    "detection": "boxes",
}
FIGURES_SHOWN = 3


class HeadInput(ModelInput):
    """An editable list of recent heads, a button for a folder, and what the chosen head tells apart.

    Emits ``changed`` when another head is chosen; ``head`` is None while it is none that can be used,
    and ``problem`` then says why.
    """

    head: HeadSpec | None = None

    def __init__(self, parent: QWidget | None = None) -> None:
        self.classes = _class_line()
        super().__init__(parent, recent=RECENT, shipped=shipped_heads)
        self.box.setToolTip("The folder of a fine-tuning run (also one that is still training), or a head folder.")
        self.button.setToolTip("Choose the folder of the run or head.")
        self.box.line.setPlaceholderText("run or head folder")
        column: Any = self.layout()
        column.insertWidget(column.indexOf(self.card), self.classes)

    def _look(self) -> None:
        before = (self.head, self.problem, self.identity)
        self.head, self.problem = look_at_head(self.model)
        self.info, wrong = look_at(self.model) if self.head else (None, "")
        if wrong:
            self.head, self.problem = None, wrong
        self.identity = identity_of(self.folder)
        begin = f"{SHIPPED.capitalize()} · " if self.info and self.info.shipped else ""
        set_text(self.about, begin + describe_head(self.head) if self.head else self.problem)
        set_text(self.classes, chips(self.head) if self.head else "")
        self.card.show_model(self.info)
        if before != (self.head, self.problem, self.identity):
            self.changed.emit()


def look_at_head(head: str) -> tuple[HeadSpec | None, str]:
    """Return what `head` is, or why it cannot be used and what to do."""
    if not head:
        return None, MISSING
    try:
        return read_head_spec(head), ""
    except (OSError, ValueError, KeyError) as error:
        line = sentence(" ".join(str(error).split()))
    return None, _pretrained(head) or line


def is_head(path: Path) -> bool:
    """Tell whether `path` is the folder of a head, or the file in it that says so."""
    return (path.is_dir() or path.name in HEAD_FILES) and look_at_head(str(holder(path)))[0] is not None


def _pretrained(model: str) -> str:
    """Return what to do with a model that was only pre-trained; an empty text if it is none."""
    try:
        info = model_info(model)
    except (OSError, ValueError, KeyError):
        return ""
    return (
        f"“{info.name}” is a pre-trained model without a head: it knows tissue, but no classes. "
        "Fine-tune it first (Plugins > SD-MAE > Fine-tune, or Scribbles), then choose that run here."
    )


def describe_head(spec: HeadSpec) -> str:
    """Return what people want to know of a head: task, scale and how good it was on the test images."""
    scale = f" · {spec.mpp:.3g} µm/px" if spec.mpp else " · scale not known"
    line = f"{spec.task.capitalize()}: {TASKS[spec.task]}{scale} · {spec.encoder.architecture}"
    return "\n".join([line, *figures(spec)])


def figures(spec: HeadSpec) -> list[str]:
    """Return one line of the test figures, or of those of validation where nothing was tested; none if there are none."""
    for part, title in (("test", "On test images"), ("validation", "On validation images (not tested)")):
        known = {name: value for name, value in (spec.metrics.get(part) or {}).items() if isinstance(value, (int, float))}
        if known:
            shown = list(known.items())[:FIGURES_SHOWN]
            return [f"{title}: " + ", ".join(f"{plain(name)} {value:.3g}" for name, value in shown)]
    return ["Not yet evaluated on test images."]


def chips(spec: HeadSpec) -> str:
    """Return the names of the classes behind squares of their colours, as rich text; background, not drawn, has an empty one."""
    words = []
    for one in spec.classes:
        drawn = one.value > 0 or spec.task != "segmentation"
        square = f'<span style="color: rgb{tuple(one.colour)}">■</span>' if drawn else "□"
        words.append(f"{square}&nbsp;{escape(one.name).replace(' ', '&nbsp;')}")
    return " &nbsp;".join(words)


def _class_line() -> QLabel:
    label = QLabel()
    label.setTextFormat(Qt.TextFormat.RichText)
    label.setWordWrap(True)
    label.setToolTip("The classes of this head, in the colours of its overlays.")
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    return label
