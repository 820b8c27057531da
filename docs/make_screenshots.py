"""Make the pictures of README and guide in a real napari window: ``make screenshots`` (some minutes: it trains a small model).

It does what the guide says, with the buttons a person would press, on the shipped tissue.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path

HOME = Path(tempfile.mkdtemp(prefix="sdmae-"))
for name in ("CONFIG", "CACHE", "STATE", "DATA"):  # before napari is imported: the user's own settings stay out of the pictures
    os.environ[f"XDG_{name}_HOME"] = str(HOME / name.lower())

import napari  # noqa: E402
import numpy as np  # noqa: E402
from napari._qt.dialogs.qt_notification import NapariQtNotification  # noqa: E402
from PIL import Image  # noqa: E402
from qtpy.QtWidgets import QApplication  # noqa: E402

from napari_sdmae.config.finetune import FinetuneConfig  # noqa: E402
from napari_sdmae.io.images.read import read_image  # noqa: E402
from napari_sdmae.widgets.attention.view import View  # noqa: E402
from napari_sdmae.widgets.base.collapsible import CollapsibleSection  # noqa: E402
from napari_sdmae.widgets.worker_client import query_worker  # noqa: E402

OUTPUT = Path(__file__).parent / "screenshots"
SHIPPED = Path(str(resources.files("napari_sdmae.resources")))
TISSUE = SHIPPED / "tissue"
DEEPEST = 6


def wait(condition: Callable[[], bool], limit: float = 600, settle: float = 0.5) -> None:
    """Let the window live until `condition` holds, then a moment longer."""
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"waited {limit:.0f} s in vain for line {condition.__code__.co_firstlineno}")
        QApplication.processEvents()
        time.sleep(0.01)
    end = time.monotonic() + settle
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)


def answered() -> bool:
    """Return whether the query worker has nothing left to do."""
    return not query_worker().busy


def save(viewer: napari.Viewer, title: str) -> None:
    """Save the whole window."""
    wait(answered)
    for notice in viewer.window._qt_window.findChildren(NapariQtNotification):
        notice.close()
    wait(answered)
    path = OUTPUT / f"{title}.webp"
    exact = HOME / f"{title}.png"
    viewer.window._qt_window.grab().save(str(exact))
    Image.open(exact).convert("RGB").save(path, quality=88, method=6)  # a fifth of the PNG: the pictures travel in the wheel
    print(path, flush=True)


def pretrain(viewer: napari.Viewer, run: Path) -> None:
    """Pre-train on the shipped tiles: before, in the middle, at the end."""
    dock, widget = viewer.window.add_plugin_dock_widget("napari-sdmae", "Pre-train")
    page = widget.new_run
    page.output.set(run.parent)
    slides = HOME / "slides"
    slides.symlink_to(TISSUE / "tiles")
    page.source.folder.set(slides)
    page.preset.set("cpu-demo")
    page.choose_preset()
    page.form.editors["tiles.mpp"].set(0.5)
    wait(lambda: page.start_button.isEnabled())
    page.preflight.show_sheet()
    wait(lambda: not page.preflight.sheet.empty)
    save(viewer, "pretrain-new-run")
    page.start()
    epochs = page.config.epochs
    wait(lambda: widget.watcher.view.failed or len(widget.monitor.plot.lines["total"][1].get_xdata()) >= 0.6 * epochs)
    viewer.reset_view()
    save(viewer, "pretrain-progress")
    wait(lambda: not widget.watcher.live, limit=1800)
    widget.tabs.setCurrentIndex(2)
    save(viewer, "pretrain-runs")
    Path(widget.watcher.folder.path).rename(run)
    viewer.window.remove_dock_widget(dock)
    viewer.layers.clear()


def open_field(viewer: napari.Viewer) -> None:
    """Open the sample region and mark a field of 512 px in it."""
    viewer.open_sample("napari-sdmae", "region")
    picture = viewer.layers[0]
    field = np.array([[300, 900], [300, 1412], [812, 1412], [812, 900]])
    viewer.add_shapes([field], scale=picture.scale, units=picture.units, name="field", face_color="transparent", visible=False)
    viewer.layers.selection.active = picture
    middle = np.asarray(picture.scale) * field.mean(0)
    viewer.camera.center, viewer.camera.zoom = (0.0, *middle), 2.2


def reconstruct(viewer: napari.Viewer, run: Path) -> None:
    """Reconstruct the field."""
    dock, widget = viewer.window.add_plugin_dock_widget("napari-sdmae", "Reconstruct")
    widget.model.choose(str(run))
    widget.image.region_box.setCurrentText("field")
    wait(answered)
    widget.reconstruct()
    save(viewer, "reconstruct")
    viewer.window.remove_dock_widget(dock)
    for layer in [layer for layer in viewer.layers if "id" in layer.metadata.get("sdmae", {})]:
        viewer.layers.remove(layer)


def attend(viewer: napari.Viewer, run: Path) -> None:
    """Show the field's attention in several ways."""
    dock, widget = viewer.window.add_plugin_dock_widget("napari-sdmae", "Attention")
    widget.controls.model.choose(str(run))
    widget.controls.image.region_box.setCurrentText("field")
    wait(answered)
    widget.show_attention()
    wait(answered)
    middle = np.asarray(viewer.layers[0].scale) * (556, 1156)
    for title, view in {
        "attention-received": View("received", DEEPEST, "mean"),
        "attention-similarity": View("similarity", DEEPEST),
        "attention-heads": View("received", DEEPEST, "grid"),
    }.items():
        widget.controls.choose(view)
        wait(answered)
        if "heads" not in title:
            viewer.camera.center, viewer.camera.zoom = (0.0, *middle), 2.2
        save(viewer, title)
    viewer.window.remove_dock_widget(dock)


def first_look(viewer: napari.Viewer) -> None:
    """Show what the model that comes with the package makes of glands, in three colours, half-way up."""
    open_glands(viewer, 128, 128, 896)
    dock, widget = viewer.window.add_plugin_dock_widget("napari-sdmae", "Attention")
    widget.controls.image.region_box.setCurrentText("field")
    widget.controls.choose(View("pca", 6))
    widget.show_attention()
    wait(answered)
    viewer.camera.zoom = 1.7
    save(viewer, "attention-pca")
    viewer.window.remove_dock_widget(dock)
    viewer.layers.clear()


def finetune(viewer: napari.Viewer, model: Path) -> Path:
    """Fine-tune a head on the shipped nuclei: before, in the middle, at the end; return its run."""
    dock, widget = viewer.window.add_plugin_dock_widget("napari-sdmae", "Fine-tune")
    page = widget.new_run
    page.output.set(model.parent)
    nuclei = HOME / "nuclei"
    nuclei.symlink_to(SHIPPED / "nuclei")
    settings = {"data": nuclei, "model": str(model), "epochs": 12, "validate_every": 2, "preview_every": 4, "device": "cpu"}
    scale = {"image_mpp": 0.25, "seen_mpp": 0.25, "head": {"width": 32}, "optimizer": {"warmup_epochs": 1.0}}
    page.show_settings(FinetuneConfig.from_preset("nuclei", **settings, **scale), "nuclei")
    wait(lambda: page.start_button.isEnabled())
    save(viewer, "finetune-new-run")
    page.start_button.click()
    wait(lambda: widget.watcher.view.failed or (widget.watcher.view.progress or 0) > 0.6, limit=1800)
    viewer.reset_view()
    save(viewer, "finetune-progress")
    wait(lambda: not widget.watcher.live and (widget.watcher.view.failed or widget.monitor.report is not None), limit=1800)
    save(viewer, "finetune-report")
    run = Path(widget.watcher.folder.path)
    viewer.window.remove_dock_widget(dock)
    viewer.layers.clear()
    return run


def open_glands(viewer: napari.Viewer, row: int, column: int, edge: int) -> None:
    """Open the region of endometrium in micrometres, with a field of `edge` px marked, and look at it."""
    file = HOME / "endometrium.jpg"
    if not file.exists():
        file.symlink_to(TISSUE / "regions" / "endometrium_endometrial-polyp.jpg")
    place = {"scale": (0.5, 0.5), "units": ("um", "um")}
    picture = viewer.add_image(read_image(file), name="endometrium", metadata={"sdmae": {"file": str(file)}}, **place)
    field = np.array([[row, column], [row, column + edge], [row + edge, column + edge], [row + edge, column]])
    viewer.add_shapes([field], name="field", face_color="transparent", visible=False, **place)
    viewer.layers.selection.active = picture
    viewer.camera.center, viewer.camera.zoom = (0.0, *(0.5 * field.mean(0))), 3.2


STROKES = {
    "Gland": [(1360, 66, 1480, 74), (1545, 385, 1462, 485), (1722, 710, 1745, 800), (1740, 280, 1800, 245)],
    "Stroma": [(1420, 260, 1440, 330), (1650, 150, 1640, 215), (1700, 520, 1640, 570), (1950, 620, 1990, 680)],
    "Lumen": [(1380, 120, 1470, 115), (1545, 480, 1500, 540), (1790, 680, 1810, 760)],
}
"""Strokes in the endometrium: from row, column to row, column."""


def scribble(viewer: napari.Viewer) -> None:
    """Paint strokes of three classes in the glands, with the model that comes with the package: the picture of the README."""
    open_glands(viewer, 1150, 20, 880)
    dock, widget = viewer.window.add_plugin_dock_widget("napari-sdmae", "Scribbles")
    widget.controls.image.region_box.setCurrentText("field")
    classes = widget.controls.classes
    classes.add("")
    for row, name in zip(classes.rows, STROKES, strict=True):
        row.name.setText(name)
        row.name.editingFinished.emit()
    widget.brush("paint")
    widget.strokes_layer.brush_size = 10
    for value, strokes in enumerate(STROKES.values(), start=1):
        for stroke in strokes:
            draw(widget.strokes_layer, value, *stroke)
        wait(answered, settle=2)
    wait(answered, settle=4)
    viewer.camera.zoom = 1.85
    save(viewer, "scribbles")
    viewer.window.remove_dock_widget(dock)
    viewer.layers.clear()


def draw(layer: napari.layers.Labels, value: int, row: int, column: int, to_row: int, to_column: int) -> None:
    """Draw a straight stroke, as a brush that moves by two pixels at a time."""
    steps = max(abs(to_row - row), abs(to_column - column)) // 2
    for place in np.linspace((row, column), (to_row, to_column), steps + 1):
        layer.paint(tuple(place), value)


def segment(viewer: napari.Viewer, head: Path) -> None:
    """Segment nuclei, choose one in the table, export."""
    open_glands(viewer, 256, 256, 512)
    dock, widget = viewer.window.add_plugin_dock_widget("napari-sdmae", "Segment")
    widget.choose_head(head)
    widget.controls.image.region_box.setCurrentText("field")
    wait(lambda: widget.controls.button.isEnabled())
    widget.controls.button.click()
    wait(answered, settle=3)
    wait(answered, settle=2)
    save(viewer, "segment")
    widget.desk.link.show_object(int(widget.desk.labels.layer.features["label"].iloc[10]))
    for section in widget.desk.findChildren(CollapsibleSection):
        section.heading.setChecked("Export" in section.heading.text())
    wait(answered, settle=1)
    widget.verticalScrollBar().setValue(widget.verticalScrollBar().maximum())
    save(viewer, "segment-export")
    viewer.window.remove_dock_widget(dock)
    viewer.layers.clear()


def main() -> None:
    """Make all pictures."""
    OUTPUT.mkdir(exist_ok=True)
    viewer = napari.Viewer()
    viewer.window._qt_window.resize(1440, 900)
    wait(answered, settle=6)  # napari's notice on PyQt5 has gone
    first_look(viewer)
    scribble(viewer)
    run = HOME / "runs" / "2026-demo"
    pretrain(viewer, run)
    open_field(viewer)
    reconstruct(viewer, run)
    attend(viewer, run)
    viewer.layers.clear()
    head = finetune(viewer, run)
    segment(viewer, head)
    assert "torch" not in sys.modules
    viewer.close()


if __name__ == "__main__":
    main()
