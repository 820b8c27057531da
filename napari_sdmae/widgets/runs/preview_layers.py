"""Probe tiles or validation images of a run as layers, updated in place.

Each of input, masked, reconstruction and error is one 2-D layer with the tiles side by side, below everything in the viewer: a
stack would show one tile at a time, and grid mode would move people's own layers. ``metadata["sdmae"]`` identifies the layers;
only their pixels are replaced, and a deleted layer stays away until the run is opened again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari_sdmae.labels.serialization import METADATA_KEY, plugin_metadata
from napari_sdmae.layers.base import LayerData
from napari_sdmae.layers.previews import PREVIEW_GAP, preview_layers
from napari_sdmae.widgets.canvas.show_layers import mark_stale, restore_layers, update_layers

FAILED = " (failed)"


class PreviewLayers:
    """Keeps the preview layers of one run up to date.

    Layers are found again by what their metadata says, so that a person's name, order, place, contrast and
    visibility are left alone, and a layer a person deleted stays deleted until the run is attached again.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self._run = Path()
        self._made: set[str] = set()
        self._offset = 0.0

    def attach(self, run: Path) -> None:
        """Show the previews of `run` from now on, in the layers that it already has in the viewer; hide those of another run."""
        if run != self._run:
            mark_stale(self._viewer, f"{self._run}/")
            restore_layers(self._viewer, [layer.metadata[METADATA_KEY]["id"] for layer in self._layers_of(run)])
        self._run = run
        self._made = set(self._layers())

    def show(self, preview: Path) -> None:
        """Show the preview file `preview`."""
        try:
            made = preview_layers(self._run, preview)
        except (OSError, ValueError):
            return  # removed, or not whole yet on a shared disk: the next one comes
        if not self._made:
            self._offset = self._free_row()
        existing = self._layers()
        deleted = self._made - set(existing)
        wanted = [layer for layer in made if _name(layer) not in deleted]
        alone = not len(self._viewer.layers)
        for layer in wanted:  # one by one: together they would be put back into their order
            update_layers(self._viewer, [self._placed(layer, _name(layer) in existing)])
        self._made |= {_name(layer) for layer in wanted}
        if alone:
            self._viewer.reset_view()

    def follow(self, wanted: bool) -> None:
        """Hide the layers when they are to follow the run no longer; they come back with the next preview that is shown."""
        if not wanted:
            mark_stale(self._viewer, f"{self._run}/")

    def mark_failed(self, failed: bool) -> None:
        """Mark the layers of the run as those of a failed run, or take the mark away."""
        for layer in self._layers().values():
            plain = layer.name.removesuffix(FAILED)
            if failed != layer.name.endswith(FAILED):
                layer.name = plain + FAILED if failed else plain

    def _layers(self) -> dict[str, Any]:
        return {layer.metadata[METADATA_KEY]["preview"]: layer for layer in self._layers_of(self._run)}

    def _layers_of(self, run: Path) -> list[Any]:
        marks = ((plugin_metadata(layer), layer) for layer in self._viewer.layers)
        return [layer for mark, layer in marks if mark.get("run") == str(run) and "preview" in mark]

    def _free_row(self) -> float:
        """Return the first row below all layers, so that probe tiles cover nothing."""
        if not len(self._viewer.layers):
            return 0.0
        return float(self._viewer.layers.extent.world[1][-2]) + PREVIEW_GAP

    def _placed(self, layer: LayerData, exists: bool) -> LayerData:
        data, attributes, kind = layer
        row, column = attributes["translate"]
        place = {} if exists else {"translate": (row + self._offset, column)}
        return data, {name: value for name, value in attributes.items() if name != "translate"} | place, kind


def _name(layer: LayerData) -> str:
    return str(layer[1]["metadata"][METADATA_KEY]["preview"])
