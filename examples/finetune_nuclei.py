"""Train a head that outlines nuclei on the shipped images: ``python examples/finetune_nuclei.py RUN [EPOCHS]``."""

import sys
from importlib import resources
from pathlib import Path

from napari_sdmae.config import FinetuneConfig
from napari_sdmae.runs.describe import describe
from napari_sdmae.training import finetune


def main(run: Path, epochs: int = 10) -> None:
    nuclei = resources.files("napari_sdmae.resources") / "nuclei"
    config = FinetuneConfig.model_validate(
        {
            "task": "instances",
            "data": str(nuclei),
            "epochs": epochs,
            "tile_px": 64,
            "encoder": {"tile_size": 64, "patch_size": 8, "width": 96, "depth": 4, "heads": 3},
            "head": {"width": 32},
            "optimizer": {"warmup_epochs": 1, "base_lr": 0.02},
            "preview_every": epochs,
        }
    )
    for event in finetune(config, run=run):
        print(describe(event))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
