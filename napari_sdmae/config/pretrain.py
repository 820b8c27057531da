"""Settings of a pre-training run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from napari_sdmae.config.base import Device, Precision, RunSettings, Settings, merge, setting
from napari_sdmae.config.limits import LARGEST_MPP, SMALLEST_MPP, check_pixel_statistics
from napari_sdmae.config.presets import load_preset

Position = Literal["sincos1d", "sincos2d", "encoder"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

HEADS = {"contrast": "embedding", "cross_entropy": "projection", "smooth_l1": "predictor", "cosine": "predictor"}
"""The self-distillation head that each distance needs."""


MASK_RATIO = 0.6
"""Fraction of the patches hidden unless another is asked for (method, Recipes)."""


class ModelConfig(Settings):
    """Architecture of an SD-MAE (paper section III; ViT-S/16 by default)."""

    encoder: str = setting("vit_small_patch16_224", "Encoder", "Any plain vision transformer of timm, by its timm name.")
    tile_size: int = setting(
        224, "Tile size", "Edge of the square the model sees; divisible by the patch size.", unit="px", basic=True, ge=16, le=2048
    )
    patch_size: int = setting(16, "Patch size", "Edge of one patch (one token).", unit="px", ge=2, le=64)
    encoder_width: int | None = setting(None, "Encoder width", "Empty: the encoder's own.", ge=8, le=4096)
    encoder_depth: int | None = setting(None, "Encoder blocks", "Empty: the encoder's own.", ge=1, le=64)
    encoder_heads: int | None = setting(None, "Encoder attention heads", "Empty: the encoder's own.", ge=1, le=64)
    class_token: bool = setting(False, "Class token", "Add a class token (the paper has none).")
    position: Position = setting(
        "sincos2d", "Position code", "sincos1d: the paper's; sincos2d: rows and columns; encoder: the encoder's own, learned."
    )
    mlp_ratio: float = setting(
        4.0, "MLP ratio", "Width of the blocks' MLP over the block width (encoder and decoder).", gt=0, le=16
    )
    decoder_width: int = setting(192, "Decoder width", "Width of the decoder.", ge=8, le=4096)
    decoder_depth: int = setting(4, "Decoder blocks", "Number of decoder blocks.", ge=1, le=64)
    decoder_heads: int = setting(3, "Decoder attention heads", "Heads of the decoder.", ge=1, le=64)
    head: Literal["embedding", "projection", "predictor"] = setting(
        "embedding",
        "Self-distillation head",
        "embedding: two heads to directions that are compared (for the distance contrast); projection: two heads to logits, as "
        "in the paper (cross_entropy); predictor: the student predicts the decoder's tokens (smooth_l1 and cosine).",
    )
    head_hidden: int = setting(2048, "Head hidden width", "Hidden width of the self-distillation heads.", ge=1, le=16384)
    head_bottleneck: int = setting(
        256, "Head bottleneck", "Width of embeddings, and of projection heads before the last layer.", ge=1, le=4096
    )
    head_outputs: int = setting(4096, "Head outputs", "Number of codes (logits) of projection heads.", ge=2, le=131072)
    mean: tuple[float, float, float] = setting(IMAGENET_MEAN, "Pixel mean", "Subtracted from [0, 1] RGB before the encoder.")
    std: tuple[float, float, float] = setting(IMAGENET_STD, "Pixel standard deviation", "Divides RGB before the encoder.")

    @property
    def grid(self) -> int:
        """Patches along one edge of a tile."""
        return self.tile_size // self.patch_size

    @model_validator(mode="after")
    def _fits(self) -> Self:
        check_pixel_statistics(self.mean, self.std)
        if self.tile_size % self.patch_size:
            raise ValueError(
                f"tile size {self.tile_size} px is not a multiple of the patch size {self.patch_size} px; "
                f"choose {self.tile_size // self.patch_size * self.patch_size or self.patch_size} px"
            )
        if self.decoder_width % self.decoder_heads:
            raise ValueError(f"decoder width {self.decoder_width} is not a multiple of its {self.decoder_heads} heads")
        return self


class LossConfig(Settings):
    """Reconstruction and self-distillation loss. The defaults are ours; :meth:`paper` gives the published arithmetic."""

    p: float = setting(
        0.25,
        "Self-distillation weight p",
        "Loss = p · distillation + (1 - p) · reconstruction; 0 is plain MAE.",
        basic=True,
        ge=0,
        le=1,
    )
    p_start_epoch: float = setting(5.0, "Distillation starts", "p is 0 before this epoch.", unit="epochs", ge=0, le=10000)
    p_ramp_epochs: float = setting(
        10.0, "Distillation ramp", "p grows linearly to its value over this time.", unit="epochs", ge=0, le=10000
    )
    distance: Literal["contrast", "cross_entropy", "smooth_l1", "cosine"] = setting(
        "contrast",
        "Distillation distance",
        "contrast: the encoder recognises, among all in the batch, what the decoder made of the same patch or tile under "
        "another mask and another stain; cross_entropy: between codes of one view (paper); smooth_l1, cosine: the student "
        "regresses the decoder's normalised tokens.",
    )
    target: Literal["image", "token", "both"] = setting(
        "token",
        "Distillation target",
        "image: all visible patches together (paper); token: each patch by itself; both: the contrast of tiles and of patches.",
    )
    compared_patches: int = setting(
        6, "Patches compared", "Of the contrast of patches: how many visible ones of each view, drawn at random.", ge=1, le=4096
    )
    teacher_gradient: bool = setting(
        True, "Gradient through the teacher", "The published code has it on; off detaches the teacher."
    )
    centring: Literal["probability", "sinkhorn", "none"] = setting(
        "sinkhorn",
        "Centring of the teacher",
        "probability: running mean of probabilities (paper); sinkhorn: Sinkhorn-Knopp over the batch; none.",
    )
    centre_momentum: float = setting(0.9, "Centre momentum", "Momentum of the running centre.", ge=0, le=1)
    student_temperature: float = setting(
        0.1, "Student temperature", "Divides the student's logits, and the similarities of the contrast.", gt=0, le=10
    )
    teacher_temperature: float = setting(0.04, "Teacher temperature", "Divides the teacher's logits.", gt=0, le=10)
    warmup_teacher_temperature: float = setting(0.04, "Teacher temperature at start", "Start of its linear warm-up.", gt=0, le=10)
    warmup_teacher_epochs: int = setting(
        0, "Teacher temperature warm-up", "Length of the warm-up.", unit="epochs", ge=0, le=10000
    )
    target_normalisation: Literal["patch_channel", "patch", "none"] = setting(
        "patch",
        "Pixel target",
        "patch: each patch to mean 0, variance 1 over its pixels and channels (MAE); "
        "patch_channel: each colour channel by itself (paper); none: raw pixels.",
    )

    @property
    def views(self) -> int:
        """How often each tile is shown in a step: twice where the decoder's view of one teaches the encoder about the other."""
        return 2 if self.p > 0 and self.distance == "contrast" else 1

    @classmethod
    def paper(cls, **changes: Any) -> Self:
        """Return the published arithmetic (method, steps 6 and 7), with `changes` applied. Its head is the projection."""
        published: dict[str, Any] = {
            "p": 0.2,
            "p_start_epoch": 0.0,
            "p_ramp_epochs": 0.0,
            "distance": "cross_entropy",
            "target": "image",
            "teacher_gradient": True,
            "centring": "probability",
            "target_normalisation": "patch_channel",
        }
        return cls(**(published | changes))


class TilesConfig(Settings):
    """How images become tiles: grid, tissue filter, scale, cache."""

    tile_px: int | None = setting(
        None,
        "Cut tiles of",
        "Edge of the tiles cut from the images. Empty: the images' own size when they are small tiles of one size, else 256 px.",
        unit="px",
        ge=16,
        le=4096,
    )
    mpp: float | None = setting(
        None,
        "Scale",
        "Micrometres per pixel of the images. Empty: read from the files where they state it.",
        unit="µm/px",
        basic=True,
        ge=SMALLEST_MPP,
        le=LARGEST_MPP,
    )
    scene: int | None = setting(
        None, "Scene", "Of files that hold several pictures: which one, from 1. Empty: the largest.", ge=1
    )
    plane: int | None = setting(
        None, "Plane", "Of stacks in depth or time and of several pages: which one, from 1. Empty: the first.", ge=1
    )
    leave_out: tuple[str, ...] = setting(
        (), "Folders left out", "Names of folders whose images are not used, such as BACK of NCT-CRC-HE-100K."
    )
    tissue_filter: bool = setting(True, "Leave out background", "Skip tiles that show mostly glass.", basic=True)
    min_tissue: float = setting(0.1, "Least tissue", "Least fraction of tissue in a tile that is kept.", ge=0, le=1)
    max_unusable: float = setting(
        0.1, "Unusable files allowed", "The run refuses to start above this fraction of unusable files.", ge=0, le=1
    )
    cache: Path | None = setting(None, "Tile cache", "Folder for the decoded tiles. Empty: the user's cache folder.")


class AugmentationConfig(Settings):
    """What is changed at random in a tile, on the device. The paper: random resized crop alone."""

    crop_scale: tuple[float, float] = setting(
        (0.2, 1.0), "Crop area", "Smallest and largest crop, as fraction of the tile's area."
    )
    crop_ratio: tuple[float, float] = setting((0.75, 4 / 3), "Crop aspect ratio", "Narrowest and widest crop.")
    flip: bool = setting(True, "Flips", "Flip left-right and up-down at random.")
    rotate90: bool = setting(True, "Rotations by 90°", "Rotate by a random multiple of 90°.")
    stain_jitter: float = setting(
        0.3, "Stain jitter", "Random strength of haematoxylin, eosin and residual (HED); 0 is off.", ge=0, le=1
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        check_crop_area(self.crop_scale)
        check_ordered("crop aspect ratio", self.crop_ratio)
        return self


def check_crop_area(area: tuple[float, float]) -> None:
    """Raise ValueError unless `area`, the smallest and the largest crop, are fractions of a tile."""
    check_ordered("crop area", area)
    if area[1] > 1:
        raise ValueError(f"crop area goes to {area[1]}; it is a fraction of the tile, at most 1")


def check_ordered(name: str, bounds: tuple[float, float]) -> None:
    """Raise ValueError unless `bounds` are 0 < smallest <= largest."""
    low, high = bounds
    if not 0 < low <= high:
        raise ValueError(f"{name} {low} to {high}: expected 0 < smallest <= largest")


class OptimizerConfig(Settings):
    """AdamW with linear warm-up and cosine decay per step (method, Recipes)."""

    base_lr: float = setting(1.5e-4, "Learning rate", "Per 256 images: the rate used is this × batch / 256.", gt=0, le=10)
    min_lr: float = setting(
        1e-5, "Last learning rate", "Reached at the end of the cosine; not scaled with the batch.", ge=0, le=10
    )
    warmup_epochs: float = setting(5.0, "Warm-up", "Linear warm-up of the learning rate.", unit="epochs", ge=0, le=10000)
    weight_decay: float = setting(0.05, "Weight decay", "None on biases, norms and mask token.", ge=0, le=10)
    betas: tuple[float, float] = setting((0.9, 0.95), "AdamW betas", "Momentum of the gradient and of its square.")
    clip_grad: float | None = setting(None, "Clip gradient", "Largest gradient norm. Empty: not clipped.", gt=0, le=1000)


class PretrainConfig(RunSettings):
    """All that repeats a pre-training run."""

    data: Path = setting(..., "Images", "Folder of tissue images, searched with its sub-folders.", basic=True)
    epochs: int = setting(100, "Epochs", "Passes over all tiles.", basic=True, ge=1, le=100000)
    batch_size: int = setting(
        256, "Batch", "Tiles per optimizer step, over all devices.", unit="tiles", basic=True, ge=1, le=65536
    )
    micro_batch: int | None = setting(
        None,
        "Tiles at once",
        "Tiles per device and forward pass; the rest of the batch is accumulated. Empty: the whole batch. Sinkhorn targets and "
        "diagnostics are computed in each such part by itself.",
        unit="tiles",
        ge=1,
        le=65536,
    )
    mask_ratio: float = setting(
        MASK_RATIO, "Mask ratio", "Fraction of the patches hidden from the encoder.", basic=True, gt=0, lt=1
    )
    seed: int = setting(0, "Seed", "Same seed, same run.", basic=True, ge=0, le=2**31 - 1)
    device: Device = setting("auto", "Device", "auto: the GPU when there is one.", basic=True)
    precision: Precision = setting("auto", "Precision", "auto: bf16 where a probe of this machine shows that it pays.")
    threads: int | None = setting(None, "CPU threads", "Empty: all cores.", ge=1, le=1024)
    preview_every: int = setting(
        1, "Preview every", "Reconstruct the probe tiles after this many epochs.", unit="epochs", ge=1, le=10000
    )
    preview_tiles: int = setting(6, "Probe tiles", "Number of tiles shown while training.", ge=1, le=64)
    log_every: int = setting(10, "Log every", "Write the losses after this many steps.", unit="steps", ge=1, le=10000)
    checkpoint_every: int = setting(1, "Checkpoint every", "Save after this many epochs.", unit="epochs", ge=1, le=10000)
    checkpoint_minutes: float = setting(
        10.0, "Checkpoint at least every", "Save also inside a long epoch.", unit="min", gt=0, le=1440
    )
    tensorboard: bool = setting(
        False,
        "TensorBoard files",
        "Write the losses also as TensorBoard files into the run's folder (needs the package tensorboard).",
    )
    model: ModelConfig = Field(default_factory=ModelConfig, title="Model")
    loss: LossConfig = Field(default_factory=LossConfig, title="Loss")
    tiles: TilesConfig = Field(default_factory=TilesConfig, title="Tiles")
    augmentation: AugmentationConfig = Field(default_factory=AugmentationConfig, title="Augmentation")
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig, title="Optimizer")

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        distance, wanted = self.loss.distance, HEADS[self.loss.distance]
        if self.model.head != wanted:
            raise ValueError(f"distillation distance {distance!r} needs model.head {wanted!r}, got {self.model.head!r}")
        if wanted == "predictor" and self.loss.target != "token":
            raise ValueError(f"distillation distance {distance!r} compares tokens: set loss.target to 'token'")
        if wanted == "projection" and self.loss.target == "both":
            raise ValueError(
                f"distillation distance {distance!r} compares one or the other: set loss.target to 'image' or 'token'"
            )
        return self

    @classmethod
    def from_preset(cls, name: str, **changes: Any) -> Self:
        """Return the shipped preset `name` with `changes` applied (nested dictionaries are merged).

        Raises
        ------
        ValueError
            If there is no such preset; the message lists those there are.
        """
        return cls.model_validate(merge(load_preset(name), changes))
