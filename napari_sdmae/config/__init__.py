"""What can be set: the settings of runs and heads, their presets, and what a model may state of itself. No torch, no Qt."""

from napari_sdmae.config.ablation import AblationConfig
from napari_sdmae.config.base import merge, read_yaml
from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.config.head import HeadSpec
from napari_sdmae.config.presets import head_preset_names, load_head_preset, load_preset, preset_names
from napari_sdmae.config.pretrain import AugmentationConfig, LossConfig, ModelConfig, OptimizerConfig, PretrainConfig, TilesConfig

__all__ = [
    "AblationConfig",
    "AugmentationConfig",
    "FinetuneConfig",
    "HeadSpec",
    "LossConfig",
    "ModelConfig",
    "OptimizerConfig",
    "PretrainConfig",
    "TilesConfig",
    "head_preset_names",
    "load_head_preset",
    "load_preset",
    "merge",
    "preset_names",
    "read_yaml",
]
