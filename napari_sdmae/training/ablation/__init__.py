"""Pre-trainings compared over a grid of settings and seeds."""

from napari_sdmae.training.ablation.run import AblationEnded, ablate

__all__ = ["AblationEnded", "ablate"]
