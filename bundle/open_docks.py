"""Open napari with a sample and every dock of the plugin, let Attention show its map, and save what the screen shows.

python bundle/open_docks.py PICTURE.png
"""

import sys
import time

import napari
from npe2 import PluginManager
from qtpy.QtWidgets import QApplication, QPushButton

LIMIT_S = 600
"""After which the worker hangs."""


def main(picture: str) -> None:
    """Open all docks and save the screen."""
    viewer = napari.Viewer(show=True)
    viewer.open_sample("napari-sdmae", "region")
    names = [widget.display_name for widget in PluginManager.instance().get_manifest("napari-sdmae").contributions.widgets]
    docks = {name: viewer.window.add_plugin_dock_widget("napari-sdmae", name, tabify=True) for name in names}
    dock, widget = docks["Attention"]
    dock.raise_()
    before = len(viewer.layers)
    button = next(one for one in widget.findChildren(QPushButton) if one.text() == "Show attention")
    wait(button.isEnabled, "the button of Attention")
    button.click()
    wait(lambda: len(viewer.layers) > before, "the attention map")
    print(f"{len(docks)} docks opened: {', '.join(docks)}; layers: {[layer.name for layer in viewer.layers]}")
    viewer.window.screenshot(picture, flash=False, canvas_only=False)
    viewer.close()


def wait(there: object, what: str) -> None:
    """Let Qt work until `there` is true."""
    end = time.monotonic() + LIMIT_S
    while not there():  # type: ignore[operator]
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come in {LIMIT_S} s")
        QApplication.processEvents()
        time.sleep(0.05)


if __name__ == "__main__":
    main(sys.argv[1])
