"""Settings of a fine-tuning run, in the form of those of pre-training (:mod:`napari_sdmae.config.pretrain`). No torch, no Qt."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from napari_sdmae.config.base import Device, Precision, RunSettings, Settings, merge, setting
from napari_sdmae.config.limits import LARGEST_MPP, SMALLEST_MPP, check_encoder_arguments, check_pixel_statistics
from napari_sdmae.config.presets import load_head_preset
from napari_sdmae.config.pretrain import OptimizerConfig, check_crop_area

Task = Literal["segmentation", "instances", "classification", "detection"]
Part = Literal["train", "validation", "test"]

SCRATCH = "scratch"
"""Given as model: no pre-training, the baseline that the paper calls supervised."""
NEIGHBOURS = 10
"""Labelled tiles, or painted places, that vote unless another number is asked for."""
VOTE_TEMPERATURE = 0.07
"""Of the softmax over similarities with which neighbours vote (Wu et al., arXiv 1805.01978)."""


class EncoderConfig(Settings):
    """How the encoder takes part, and what it is when there is no model to start from."""

    train: Literal["full", "frozen", "partial"] = setting(
        "full", "Train the encoder", "full: all blocks; partial: the last blocks; frozen: the head alone.", basic=True
    )
    last_blocks: int = setting(4, "Blocks trained", "With partial: how many of the last blocks are trained.", ge=1, le=64)
    layer_decay: float = setting(
        0.75, "Layer decay", "The learning rate of each block is this × that of the block above it.", gt=0, le=1
    )
    drop_path: float = setting(0.1, "Drop path", "Largest rate at which whole blocks are left out while training.", ge=0, lt=1)
    architecture: str = setting("vit_small_patch16_224", "Encoder from scratch", "timm name, used with model scratch only.")
    tile_size: int = setting(224, "Tile size from scratch", "Edge of the square it sees.", unit="px", ge=16, le=2048)
    patch_size: int = setting(16, "Patch size from scratch", "Edge of one patch.", unit="px", ge=2, le=64)
    width: int | None = setting(None, "Width from scratch", "Empty: the encoder's own.", ge=8, le=4096)
    depth: int | None = setting(None, "Blocks from scratch", "Empty: the encoder's own.", ge=1, le=64)
    heads: int | None = setting(None, "Attention heads from scratch", "Empty: the encoder's own.", ge=1, le=64)


class LabelsConfig(Settings):
    """Which labels there are, and which images are kept apart to select and to test."""

    split: Literal["auto", "image"] = setting(
        "auto",
        "Keep apart",
        "auto: the split that the table gives, else whole patients or slides where the table names them; image: single images.",
    )
    validation: float = setting(0.2, "For validation", "Fraction kept apart to select the best epoch.", ge=0, lt=1)
    test: float = setting(0.2, "For the test", "Fraction kept apart for the report; used once, at the end.", ge=0, lt=1)
    ignore_value: int = setting(255, "Value left out", "Pixels of this value in a mask are not learned.", ge=0, le=65535)
    leave_out: tuple[str, ...] = setting(
        (), "Classes left out", "Of classification: names of classes whose images are not used, such as BACK of NCT-CRC-HE-100K."
    )
    balance: Literal["none", "weights", "sampling"] = setting(
        "none", "Rare classes", "weights: rare classes count more in the loss; sampling: they are drawn more often."
    )


class HeadConfig(Settings):
    """What is put on the encoder."""

    decoder: Literal["linear", "unet", "upernet", "dpt"] = setting(
        "upernet",
        "Decoder",
        "Of segmentation and instances. linear: light; unet: the picture's own pixels beside the encoder's tokens, for sharp "
        "outlines; upernet: the paper's; dpt: dense prediction transformer.",
        basic=True,
    )
    width: int = setting(
        128,
        "Decoder width",
        "Channels of the decoder: unet at stride 8 (64 do), upernet and dpt everywhere (the paper: 384).",
        ge=8,
        le=1024,
    )
    blocks: tuple[int, ...] = setting(
        (),
        "Blocks read",
        "Encoder blocks whose tokens the decoder sees, from 0: four for upernet and dpt, any number for unet and linear. "
        "Empty: evenly spread (3, 5, 7, 11 of 12), two for unet, the last one for linear.",
    )
    auxiliary: float = setting(
        0.4,
        "Auxiliary head",
        "Of upernet and dpt: weight of a second, simple head on the third block read; 0 is off.",
        ge=0,
        le=10,
    )
    loss: Literal["cross_entropy", "dice", "cross_entropy_dice", "focal", "lovasz"] = setting(
        "cross_entropy_dice", "Loss", "Of segmentation."
    )
    separation: Literal["distance", "boundary"] = setting(
        "distance",
        "How nuclei are separated",
        "Of instances: by the distance to the edge of each, or by its boundary; then watershed.",
    )
    smallest: float = setting(
        10.0,
        "Smallest object",
        "Of instances: smaller ones are left out.",
        unit="µm² (px where the scale is unknown)",
        ge=0,
        le=1e6,
    )
    classifier: Literal["mean", "linear_probe", "knn"] = setting(
        "mean",
        "Classifier",
        "mean: mean of the tokens, LayerNorm, Linear; linear_probe: BatchNorm without affine, Linear, on a frozen encoder; "
        "knn: the nearest labelled tiles vote, without training.",
    )
    neighbours: int = setting(NEIGHBOURS, "Neighbours", "Of knn.", ge=1, le=1000)
    detector: Literal["faster_rcnn", "retinanet"] = setting(
        "faster_rcnn", "Detector", "On a simple feature pyramid of the encoder."
    )


class LabelledAugmentation(Settings):
    """What is changed at random in a tile and its labels while training."""

    crop_scale: tuple[float, float] = setting(
        (0.5, 1.0), "Crop area", "Smallest and largest crop, as fraction of the area it is cut from."
    )
    flip: bool = setting(True, "Flips", "Flip left-right and up-down at random.")
    rotate90: bool = setting(True, "Rotations by 90°", "Rotate by a random multiple of 90°.")
    stain_jitter: float = setting(0.1, "Stain jitter", "Random strength of haematoxylin, eosin and residual (HED).", ge=0, le=1)
    brightness: float = setting(0.1, "Brightness", "Random factor from 1 - this to 1 + this.", ge=0, lt=1)
    mixup: float = setting(0.0, "Mixup", "Of classification; the paper: 0.8; 0 is off.", ge=0, le=10)
    cutmix: float = setting(0.0, "CutMix", "Of classification; the paper: 1.0; 0 is off.", ge=0, le=10)
    label_smoothing: float = setting(0.0, "Label smoothing", "Of classification; the paper: 0.1.", ge=0, lt=1)
    rand_augment: int = setting(0, "RandAugment", "Magnitude, of classification; the paper: 9; 0 is off.", ge=0, le=10)
    erase: float = setting(0.0, "Random erasing", "Probability, of classification; the paper: 0.25.", ge=0, le=1)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        check_crop_area(self.crop_scale)
        return self


class FinetuneConfig(RunSettings):
    """All that repeats a fine-tuning run."""

    task: Task = setting(
        ...,
        "Task",
        "segmentation: a class for each pixel; instances: nuclei, each outlined and counted; classification: one class per tile; "
        "detection: boxes.",
        basic=True,
    )
    data: Path = setting(..., "Labelled images", "Folder, CSV table or COCO file; see the guide for the layouts.", basic=True)
    model: str = setting(SCRATCH, "Model", "Run folder, model folder, name of a shipped model, or scratch for none.", basic=True)
    epochs: int = setting(50, "Epochs", "Passes over all training images.", basic=True, ge=1, le=100000)
    minutes: float | None = setting(
        None,
        "Time limit",
        "No more epochs than fit into it: a few steps are timed at the start. Empty: all epochs.",
        unit="min",
        basic=True,
        gt=0,
        le=100000,
    )
    batch_size: int = setting(16, "Batch", "Tiles per optimizer step.", unit="tiles", basic=True, ge=1, le=65536)
    micro_batch: int | None = setting(
        None,
        "Tiles at once",
        "Tiles per forward pass; the rest of the batch is accumulated. Empty: the whole batch.",
        unit="tiles",
        ge=1,
        le=65536,
    )
    tile_px: int | None = setting(
        None,
        "Tile size",
        "Edge of the crops the model is trained on, rounded up to whole patches. Empty: the encoder's own tile size.",
        unit="px",
        ge=16,
        le=2048,
    )
    seen_mpp: float | None = setting(
        None,
        "Scale seen",
        "The images are resized to this. Empty: the encoder's own scale.",
        unit="µm/px",
        ge=SMALLEST_MPP,
        le=LARGEST_MPP,
    )
    image_mpp: float | None = setting(
        None,
        "Scale of the images",
        "Empty: read from the table or the files.",
        unit="µm/px",
        basic=True,
        ge=SMALLEST_MPP,
        le=LARGEST_MPP,
    )
    seed: int = setting(0, "Seed", "Same seed, same run.", basic=True, ge=0, le=2**31 - 1)
    device: Device = setting("auto", "Device", "auto: the GPU when there is one.", basic=True)
    precision: Precision = setting("auto", "Precision", "auto: bf16 where a probe of this machine shows that it pays.")
    threads: int | None = setting(None, "CPU threads", "Empty: all cores.", ge=1, le=1024)
    validate_every: int = setting(1, "Validate every", "Epochs between two validations.", unit="epochs", ge=1, le=10000)
    preview_every: int = setting(
        1, "Preview every", "Show validation images after this many epochs.", unit="epochs", ge=1, le=10000
    )
    preview_tiles: int = setting(4, "Images shown", "Number of validation images shown while training.", ge=1, le=64)
    log_every: int = setting(10, "Log every", "Write the losses after this many steps.", unit="steps", ge=1, le=10000)
    checkpoint_every: int = setting(1, "Checkpoint every", "Save after this many epochs.", unit="epochs", ge=1, le=10000)
    checkpoint_minutes: float = setting(
        10.0, "Checkpoint at least every", "Save also inside a long epoch.", unit="min", gt=0, le=1440
    )
    tensorboard: bool = setting(
        False, "TensorBoard files", "Write the losses also as TensorBoard files (needs the package tensorboard)."
    )
    encoder: EncoderConfig = Field(default_factory=EncoderConfig, title="Encoder")
    labels: LabelsConfig = Field(default_factory=LabelsConfig, title="Labels")
    head: HeadConfig = Field(default_factory=HeadConfig, title="Head")
    augmentation: LabelledAugmentation = Field(default_factory=LabelledAugmentation, title="Augmentation")
    optimizer: OptimizerConfig = Field(
        default_factory=lambda: OptimizerConfig(base_lr=1e-3, min_lr=1e-6, warmup_epochs=2.0, betas=(0.9, 0.999), clip_grad=3.0),
        title="Optimizer",
    )

    @model_validator(mode="before")
    @classmethod
    def _takes_the_old_name(cls, values: Any) -> Any:
        """Take `mpp` of version 0.1.0 for `seen_mpp`; ``--mpp`` is the scale of the images, as everywhere else."""
        if not isinstance(values, dict) or "mpp" not in values:
            return values
        return {name: value for name, value in values.items() if name != "mpp"} | {"seen_mpp": values["mpp"]}

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.labels.validation + self.labels.test >= 1:
            raise ValueError(
                f"labels.validation {self.labels.validation} and labels.test {self.labels.test} leave nothing to train on; "
                "their sum must be below 1"
            )
        if self.model == SCRATCH and self.encoder.train != "full":
            raise ValueError(
                f"encoder.train {self.encoder.train!r} with model scratch would keep random weights; "
                "choose a model, or encoder.train full"
            )
        return self

    @classmethod
    def from_preset(cls, name: str, **changes: Any) -> Self:
        """Return the shipped preset `name` with `changes` applied (nested dictionaries are merged).

        Raises
        ------
        ValueError
            If there is no such preset, or the settings do not agree.
        """
        return cls.model_validate(merge(load_head_preset(name), changes))


class EncoderSpec(Settings):
    """The encoder inside a head folder: what timm needs to build it, and what it expects.

    `fixed_position` keeps a fixed (sine-cosine) position code from being trained when the head is fine-tuned further.
    """

    architecture: str
    arguments: dict[str, Any]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    patch_size: int = Field(ge=1, le=256)
    tile_size: int = Field(ge=1, le=16384)
    fixed_position: bool = False

    @model_validator(mode="after")
    def _is_plausible(self) -> Self:
        check_pixel_statistics(self.mean, self.std)
        check_encoder_arguments(self.arguments)
        if self.tile_size < self.patch_size:
            raise ValueError(f"tile_size {self.tile_size} is smaller than patch_size {self.patch_size}")
        return self
