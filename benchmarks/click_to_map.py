"""Time from a click in Attention to the new map on screen, in a real napari window with a warm worker (target T14).

    python benchmarks/click_to_map.py [MODEL] [--field 512] [--moves 30]

Needs a display (Xvfb will do). A new field is another part of the picture, so nothing is cached; a move asks for
another query patch of the same field. Both end when the canvas has drawn the new map.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import napari
import numpy as np
from machine import write_result
from qtpy.QtWidgets import QApplication

from napari_sdmae.widgets.attention.dock import AttentionWidget
from napari_sdmae.widgets.attention.view import View
from napari_sdmae.widgets.worker_client import query_worker


def wait_until_drawn(viewer: napari.Viewer) -> float:
    """Run the event loop until the question is answered and the canvas drawn; return the time it took, in ms."""
    start = time.perf_counter()
    while query_worker().busy or query_worker()._waiting:
        QApplication.processEvents()
        time.sleep(0.001)  # the worker needs both cores
    viewer.window._qt_viewer.canvas.native.repaint()
    QApplication.processEvents()
    return (time.perf_counter() - start) * 1000


def measure(model: str, field: int, moves: int) -> dict[str, float]:
    """Return medians and 90th percentiles in ms."""
    viewer = napari.Viewer()
    viewer.open_sample("napari-sdmae", "region")
    image = viewer.layers[0]
    widget = AttentionWidget(viewer)
    viewer.window.add_dock_widget(widget, area="right")
    shapes = viewer.add_shapes(name="field", scale=image.scale, units=image.units)
    widget.controls.model.choose(model)
    widget.controls.choose(View("query", 12, "mean"))
    new_field, moved = [], []
    for number in range(8):
        top = number * 100 - 0.5
        shapes.data = [np.array([[top, top], [top, top + field], [top + field, top + field], [top + field, top]])]
        widget.controls.image.region_box.setCurrentText("field")
        widget.show_attention()
        new_field.append(wait_until_drawn(viewer))
        if widget.controls.failure.failure:
            raise SystemExit(widget.controls.failure.failure.line)
    for number in range(moves):
        widget._point_at(image.data_to_world((top + 20 + number * 16 % (field - 40), top + 30 + number * 48 % (field - 40))))
        moved.append(wait_until_drawn(viewer))
    viewer.close()
    return {
        "new_field_ms": statistics.median(new_field[2:]),
        "new_field_p90_ms": float(np.percentile(new_field[2:], 90)),
        "query_move_ms": statistics.median(moved[2:]),
        "query_move_p90_ms": float(np.percentile(moved[2:], 90)),
    }


def make_model(folder: Path) -> Path:
    """Write a ViT-S/16 with random weights, in another process: torch must not enter the viewer's."""
    code = (
        "import sys, pathlib; from napari_sdmae.config.pretrain import ModelConfig\n"
        "from napari_sdmae.io.checkpoints.load import save_model\n"
        "from napari_sdmae.models import SDMAE\n"
        "save_model(pathlib.Path(sys.argv[1]), SDMAE(ModelConfig()), metadata={'mpp': 0.5})"
    )
    subprocess.run([sys.executable, "-c", code, folder], check=True)
    return folder


def main() -> None:
    """Print a table and write it with machine and date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", help="run or model folder; by default a ViT-S/16 with random weights")
    parser.add_argument("--field", type=int, default=512)
    parser.add_argument("--moves", type=int, default=30)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        times = measure(given.model or str(make_model(Path(folder) / "vit-small")), given.field, given.moves)
    for name, value in times.items():
        print(f"{name:20} {value:8.1f}")
    write_result("click_to_map", {"model": given.model or "vit-small, random", "field_px": given.field, **times})


if __name__ == "__main__":
    main()
