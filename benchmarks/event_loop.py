"""How late the viewer's event loop is, with and without a job that trains beside it.

Opens a real napari window with the Pre-train widget on the shipped tissue. A timer is due every 10 ms; how late it
comes is what a person's click would wait. Phases: at rest; while a job trains, with live plot and probe tiles;
while a person also works (zoom and layer clicks, every 100 ms); a person without a job, which tells what drawing
alone costs. Prints a table and writes JSON.

Run it under a display, or ``xvfb-run -a -s "-screen 0 1600x1200x24" python benchmarks/event_loop.py``.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path

os.environ["XDG_CONFIG_HOME"] = tempfile.mkdtemp(prefix="sdmae-event-loop-config-")  # nobody's own settings are used or changed

import napari
import numpy as np
import qtpy
from machine import write_result
from qtpy.QtCore import QEventLoop, Qt, QTimer

from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.widgets.pretrain.dock import PretrainWidget

TICK_MS = 10


class Delays:
    """Collects how late a timer comes, in ms."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self._due = time.perf_counter() + TICK_MS / 1000
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)
        self._timer.start(TICK_MS)

    def _tick(self) -> None:
        now = time.perf_counter()
        self.values.append(max(0.0, (now - self._due) * 1000))
        self._due = now + TICK_MS / 1000

    def take(self) -> dict[str, float]:
        """Return median, 99th percentile and maximum since the last call."""
        values, self.values = np.array(self.values), []
        return {
            "p50_ms": float(np.percentile(values, 50)),
            "p99_ms": float(np.percentile(values, 99)),
            "max_ms": float(values.max()),
            "ticks": len(values),
        }


def wait(condition: Callable[[], bool], limit_s: float) -> bool:
    """Run the event loop until `condition` holds; return whether it did."""
    loop, end = QEventLoop(), time.perf_counter() + limit_s  # not the application's own: its end would release the query worker
    poll = QTimer()
    poll.timeout.connect(lambda: loop.quit() if condition() or time.perf_counter() > end else None)
    poll.start(50)
    loop.exec()
    poll.stop()
    return condition()


def rest(seconds: float) -> None:
    """Run the event loop for `seconds`."""
    end = time.perf_counter() + seconds
    wait(lambda: time.perf_counter() >= end, seconds + 1)


def person(viewer: napari.Viewer) -> QTimer:
    """Return a timer that zooms and switches layers like a person who works while a job trains."""
    timer = QTimer()
    steps = iter(range(10**9))

    def act() -> None:
        step = next(steps)
        viewer.scene.camera.zoom *= 1.1 if step % 2 else 1 / 1.1
        if len(viewer.layers):
            layer = viewer.layers[step % len(viewer.layers)]
            layer.visible = not layer.visible

    timer.timeout.connect(act)
    timer.start(100)
    return timer


def measure(seconds: float, preset: str) -> dict[str, dict[str, float]]:
    """Return the delays of each phase."""
    runs = Path(tempfile.mkdtemp(prefix="sdmae-event-loop-"))
    viewer = napari.Viewer(show=True)
    viewer.window._qt_window.resize(1280, 800)
    widget = PretrainWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Pre-train")
    widget.new_run.output.set(runs)
    rest(3)
    delays, result = Delays(), {}
    rest(seconds)
    result["at rest"] = delays.take()
    images = Path(str(resources.files("napari_sdmae.resources") / "tissue" / "tiles"))
    config = PretrainConfig.from_preset(preset, data=images, epochs=100_000)
    widget.new_run.show_settings(config, preset)
    if not wait(widget.new_run.start_button.isEnabled, 120):
        raise RuntimeError(f"the run cannot start: {widget.new_run.reason.text()}")
    delays.take()
    widget.new_run.start()
    if not wait(lambda: len(viewer.layers) > 0, 300):
        raise RuntimeError(f"no preview came: {widget.watcher.view}")
    rest(3)  # the first painting of new layers
    result["start to first preview"] = delays.take()
    rest(seconds)
    result["a job trains"] = delays.take()
    hands = person(viewer)
    rest(seconds)
    hands.stop()
    result["a job trains, a person works"] = delays.take()
    widget.watcher.act("cancel")
    wait(lambda: not widget.watcher.live, 60)
    rest(3)
    delays.take()
    hands.start(100)
    rest(seconds)
    hands.stop()
    result["no job, a person works"] = delays.take()
    viewer.close()
    return result


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=30, help="length of each phase")
    parser.add_argument("--preset", default="cpu-demo")
    arguments = parser.parse_args()
    phases = measure(arguments.seconds, arguments.preset)
    print(f"{'':32}{'p50':>8}{'p99':>8}{'max':>8}  ms late")
    for name, values in phases.items():
        print(f"{name:32}{values['p50_ms']:8.1f}{values['p99_ms']:8.1f}{values['max_ms']:8.1f}")
    heavy = sorted({"torch", "timm", "torchvision"} & set(sys.modules))
    print(f"heavy modules in the viewer: {heavy or 'none'}")
    write_result("event_loop", {"qt": f"{qtpy.API} {qtpy.QT_VERSION}", "preset": arguments.preset, "phases": phases})


if __name__ == "__main__":
    main()
