"""Compare two mask ratios by nearest neighbours on frozen features, on shipped tissue: ``python examples/ablate.py OUTPUT``."""

import sys
from importlib import resources
from pathlib import Path

from napari_sdmae.config.ablation import AblationConfig
from napari_sdmae.training.ablation import AblationEnded, ablate


def main(output: Path) -> None:
    tissue = Path(str(resources.files("napari_sdmae.resources") / "tissue" / "tiles"))
    config = AblationConfig(
        data=tissue / "colon",
        pretrain={"preset": "cpu-demo", "epochs": 2, "batch_size": 15, "precision": "fp32", "tiles": {"tile_px": 256}},
        grid={"mask_ratio": (0.5, 0.75)},
        evaluate={
            "task": "classification",
            "data": tissue,
            "tile_px": 64,
            "epochs": 1,
            "precision": "fp32",
            "head": {"classifier": "knn"},
            "encoder": {"train": "frozen"},
        },
    )
    for event in ablate(config, output):
        if isinstance(event, AblationEnded):
            print((output / "results.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
