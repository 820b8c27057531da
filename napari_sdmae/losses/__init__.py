"""The losses of pre-training and of heads, and the measures of collapse. Needs torch."""

from napari_sdmae.losses.collapse import collapse_warning
from napari_sdmae.losses.heads import HeadLoss
from napari_sdmae.losses.sdmae import SDMAELoss, SDMAELosses, distillation_weight, teacher_temperature
from napari_sdmae.losses.sinkhorn import sinkhorn

__all__ = [
    "HeadLoss",
    "SDMAELoss",
    "SDMAELosses",
    "collapse_warning",
    "distillation_weight",
    "sinkhorn",
    "teacher_temperature",
]
