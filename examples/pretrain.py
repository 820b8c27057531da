"""Pre-train a small SD-MAE on the shipped colon tissue: ``python examples/pretrain.py RUN [EPOCHS]``."""

import sys
from importlib import resources
from pathlib import Path

from napari_sdmae.config import PretrainConfig
from napari_sdmae.runs.describe import describe
from napari_sdmae.training import pretrain


def main(run: Path, epochs: int = 2) -> None:
    tissue = resources.files("napari_sdmae.resources") / "tissue" / "tiles" / "colon"
    config = PretrainConfig.from_preset("cpu-demo", data=str(tissue), epochs=epochs)
    for event in pretrain(config, run=run):
        print(describe(event))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
