"""An encoder with the head of one task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import torch
from timm.models.vision_transformer import VisionTransformer
from timm.optim import param_groups_layer_decay
from torch import Tensor, nn

from napari_sdmae.config.finetune import EncoderConfig, HeadConfig
from napari_sdmae.config.head import HeadSpec
from napari_sdmae.models.encoder import freeze_key_bias
from napari_sdmae.models.heads.classification import classification_head
from napari_sdmae.models.heads.detection import DetectionHead
from napari_sdmae.models.heads.feature_pyramid import last_tokens
from napari_sdmae.models.heads.segmentation import DenseHead
from napari_sdmae.models.patches import standardise
from napari_sdmae.moved import renamed

Boxes = dict[str, Tensor]

_UNDECAYED = ("encoder.pos_embed", "encoder.cls_token", "encoder.reg_token")


class SegmentationOutput(NamedTuple):
    """Segmentation of a batch.

    Attributes
    ----------
    logits
        (B, C, H, W), C classes in the order of the specification.
    auxiliary
        The auxiliary head's, shaped alike; None outside training or where there is none.
    """

    logits: Tensor
    auxiliary: Tensor | None


class InstanceOutput(NamedTuple):
    """Objects of a batch.

    Attributes
    ----------
    foreground
        Logit of being inside an object, (B, 1, H, W).
    separation
        Logit of the distance map in [0, 1] or of the boundary, (B, 1, H, W).
    types
        Logits (B, T, H, W) of the types in the order of the specification; None when there is one.
    auxiliary
        The auxiliary head's foreground, separation and types, (B, 2 or 2 + T, H, W); None outside training or without one.
    """

    foreground: Tensor
    separation: Tensor
    types: Tensor | None
    auxiliary: Tensor | None


class HeadModel(nn.Module):
    """An encoder and a head.

    Parameters
    ----------
    encoder
        Plain vision transformer without classifier.
    spec
        Task, classes, head, and what the encoder expects.

    Raises
    ------
    ValueError
        If the head does not fit the encoder.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: VisionTransformer, spec: HeadSpec) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = encoder
        self.head = _head(encoder, spec)
        self.register_buffer("mean", torch.tensor(spec.encoder.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.encoder.std).view(1, 3, 1, 1), persistent=False)
        freeze_key_bias(encoder)

    def normalise(self, images: Tensor) -> Tensor:
        """Return the encoder's input (B, 3, H, W) from uint8 or [0, 1] float RGB, (B, H, W, 3) or (B, 3, H, W)."""
        return standardise(images, self.mean, self.std)

    def forward(self, images: Tensor, targets: Sequence[Boxes] | None = None) -> Any:
        """Return what the head says.

        Parameters
        ----------
        images
            Normalised, (B, 3, H, W); H and W multiples of the patch.
        targets
            Of detection while training: ``boxes`` (N, 4) as x0 y0 x1 y1 px and ``labels`` (N,) of each image.

        Returns
        -------
        SegmentationOutput, InstanceOutput, Tensor, dict or list
            Segmentation, instances; class logits (B, C); of detection the losses while training, else a list of ``boxes``,
            ``labels`` (class values) and ``scores``, best first.

        Raises
        ------
        ValueError
            If the images are not made of whole patches.
        """
        self._check_size(images)
        if self.spec.task == "classification":
            return self.head(self.pooled(images))
        if self.spec.task == "detection":
            return self.head(self.encoder, images, targets)
        values, auxiliary = self.head(self.encoder, images)
        if self.spec.task == "segmentation":
            return SegmentationOutput(values, auxiliary)
        types = values[:, 2:] if len(self.spec.classes) > 1 else None
        return InstanceOutput(values[:, :1], values[:, 1:2], types, auxiliary)

    def pooled(self, images: Tensor) -> Tensor:
        """Return the mean of the patch tokens after the final LayerNorm, (B, D), of normalised images (B, 3, H, W)."""
        self._check_size(images)
        return last_tokens(self.encoder, images).patches.mean((2, 3))

    def train(self, mode: bool = True) -> Self:
        """Set training mode; blocks that are not trained stay as in use, without drop path."""
        super().train(mode)
        for part in (self.encoder, *self.encoder.blocks):
            if not any(weight.requires_grad for weight in part.parameters()):
                part.eval()
        return self

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return timm's groups of layers for layer decay: embedding, then each block; what is left (norm, head) is on top."""
        return {
            "stem": r"^encoder\.(?:cls_token|reg_token|pos_embed|patch_embed|norm_pre)",
            "blocks": r"^encoder\.blocks\.(\d+)",
        }

    def _check_size(self, images: Tensor) -> None:
        patch = self.spec.encoder.patch_size
        height, width = images.shape[-2:]
        if height % patch or width % patch or not height or not width:
            raise ValueError(f"images of {height} x {width} px are not made of whole patches of {patch} px; crop or pad them")


def parameter_groups(model: HeadModel, encoder: EncoderConfig, weight_decay: float) -> list[dict[str, Any]]:
    """Return the trainable parameters in groups for AdamW, with layer decay as in BEiT and MAE.

    Head and final LayerNorm have the rate itself, the last block the rate × decay, and so on down to the embedding.

    Parameters
    ----------
    model
        The model, after :func:`set_trainable`.
    encoder
        The layer decay.
    weight_decay
        Of matrices; none on vectors, tokens and position codes.

    Returns
    -------
    list of dict
        ``params``, ``weight_decay`` and ``lr_scale``, which multiplies the learning rate. Empty if nothing is trained.
    """
    groups: list[dict[str, Any]] = param_groups_layer_decay(
        model, weight_decay, no_weight_decay_list=_UNDECAYED, layer_decay=encoder.layer_decay
    )
    return groups


def set_trainable(model: HeadModel, encoder: EncoderConfig, head: HeadConfig) -> None:
    """Freeze what is not to be trained; fixed position codes stay fixed.

    A linear probe and nearest neighbours keep the whole encoder as it is. Blocks that the head does not read are frozen too.
    """
    vit = model.encoder
    blocks = list(vit.blocks)
    probes = model.spec.task == "classification" and head.classifier != "mean"
    if encoder.train == "frozen" or probes:
        vit.requires_grad_(False)
    elif encoder.train == "partial":
        for part in (*_stem(vit), *blocks[: -encoder.last_blocks]):
            part.requires_grad_(False)
    read = max(model.head.blocks, default=0) if isinstance(model.head, DenseHead) else len(blocks) - 1
    for block in blocks[read + 1 :]:
        block.requires_grad_(False)
    if read < len(blocks) - 1:
        vit.norm.requires_grad_(False)
        vit.fc_norm.requires_grad_(False)
    if vit.attn_pool is not None:
        vit.attn_pool.requires_grad_(False)
    model.train(model.training)


def _stem(vit: VisionTransformer) -> list[nn.Module | nn.Parameter]:
    """Return what comes before the blocks."""
    tokens = [token for token in (vit.pos_embed, vit.cls_token, vit.reg_token) if token is not None]
    return [vit.patch_embed, vit.norm_pre, *tokens]


def _head(encoder: VisionTransformer, spec: HeadSpec) -> nn.Module:
    classes = len(spec.classes)
    if spec.task == "classification":
        return classification_head(int(encoder.embed_dim), classes, spec.head)
    if spec.task == "detection":
        return DetectionHead(encoder, spec.head, [one.value for one in spec.classes])
    types = classes if classes > 1 else 0
    return DenseHead(encoder, spec.head, classes if spec.task == "segmentation" else 2 + types)


__getattr__ = renamed(__name__, Finetuned="HeadModel")
