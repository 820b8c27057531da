"""Tissue outlined by a head, for the next one to learn from."""

from __future__ import annotations

from pathlib import Path

from collect import MPP, Picture, save_labels

from napari_sdmae.inference.prediction.predict import predict_file
from napari_sdmae.io.checkpoints.head_folder import load_head


def outline_by_head(head: Path, tissue: list[Picture], folder: Path) -> dict[Path, Path]:
    """Write what `head` finds in each picture into `folder`; return the labels by picture."""
    folder.mkdir(parents=True, exist_ok=True)
    outlined = {one.path: folder / one.path.name for one in tissue}
    model = load_head(head)
    for picture, labels in outlined.items():
        if not labels.exists():
            save_labels(predict_file(model, picture, mpp=MPP).label_map.labels, labels)
    return outlined
