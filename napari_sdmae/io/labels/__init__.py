"""Files of labels in every format; what is ours comes back as it was, what is others' as they state it. No torch.

The names are imported on first use: a dock that needs one format shall not load the libraries of all.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_sdmae.moved import renamed

if TYPE_CHECKING:
    from napari_sdmae.io.labels.errors import InvalidLabelsError
    from napari_sdmae.io.labels.registry import FORMATS, export_labels, import_labels

HOMES = {"InvalidLabelsError": "errors", "FORMATS": "registry", "export_labels": "registry", "import_labels": "registry"}

__all__ = ["FORMATS", "InvalidLabelsError", "export_labels", "import_labels"]


OLD_NAMES = renamed(__name__, UnusableLabels="InvalidLabelsError")


def __getattr__(name: str) -> Any:
    """Import `name` from its module."""
    if name in HOMES:
        return getattr(import_module(f"{__name__}.{HOMES[name]}"), name)
    return OLD_NAMES(name)
