"""Boxes: Faster R-CNN or RetinaNet of torchvision on the simple feature pyramid of a plain vision transformer (ViTDet).

torchvision rounds strides to whole pixels in anchors and to powers of two in pooling: with patches of 14 px (strides of 3.5
px) anchors drift by 14 %. Anchors here have the true stride of each level (patch × ¼, ½, 1, 2), pooling its scales, and images
stay at the scale of the model. Up to 500 objects per tile, as tissue is crowded; the second stage learns from 128 boxes per
tile. The detector computes in float32, as boxes are coordinates. Both detectors find a marked square with patches of 14 px
(IoU above 0.7).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log2

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.poolers import initLevelMapper

from napari_sdmae.config.finetune import HeadConfig
from napari_sdmae.models.heads.feature_pyramid import SCALES, SimpleFeaturePyramid, last_tokens

Boxes = dict[str, Tensor]

MOST_OBJECTS = 500
"""Per tile. Tissue is crowded: torchvision's 100 are too few."""

ANCHOR = 4.0
"""Edge of the anchors in strides of their level: 16, 32, 64 and 128 px with patches of 16 px, as nuclei and mitoses are."""

SAMPLED = 128
"""Boxes per tile that the second stage learns from; torchvision's 512 are for photographs of a million pixels."""

_RATIOS = (0.5, 1.0, 2.0)
_POOLED = 7


class DetectionHead(nn.Module):
    """A detector on the tokens of the last block.

    It sees the images at the size they come, and images without objects teach it what is none.

    Parameters
    ----------
    encoder
        The encoder whose tokens it reads; not kept.
    config
        Which detector, and its width.
    values
        Class values from 1, in the order of the classes.
    """

    values: Tensor

    def __init__(self, encoder: VisionTransformer, config: HeadConfig, values: Sequence[int]) -> None:
        super().__init__()
        patch = int(encoder.patch_embed.patch_size[0])
        self.pyramid = SimpleFeaturePyramid(int(encoder.embed_dim), config.width)
        strides = [patch / scale for scale in SCALES]
        build = _faster_rcnn if config.detector == "faster_rcnn" else _retinanet
        self.maps = _GivenMaps(config.width)
        self.detector = build(self.maps, len(values) + 1, strides)
        self.detector.transform = _Unchanged()
        self.register_buffer("values", torch.tensor([0, *values]), persistent=False)

    def forward(
        self, encoder: VisionTransformer, images: Tensor, targets: Sequence[Boxes] | None
    ) -> dict[str, Tensor] | list[Boxes]:
        """Return the losses while training, else boxes, class values and scores of each image.

        Parameters
        ----------
        encoder
            The encoder.
        images
            Normalised, (B, 3, H, W).
        targets
            While training: ``boxes`` (N, 4) as x0 y0 x1 y1 px and ``labels`` (N,), class values, of each image; N may be 0.

        Raises
        ------
        ValueError
            If there are no targets while training, or a label is no class of this head.
        """
        if self.training and targets is None:
            raise ValueError("a detection head trains on targets: give the boxes and labels of each image")
        maps = self.pyramid(last_tokens(encoder, images).patches)
        with torch.autocast(images.device.type, enabled=False):  # boxes are coordinates: they need all digits of float32
            self.maps.given = {str(level): one.float() for level, one in enumerate(maps)}
            try:
                found = self.detector(list(images), self._indexed(targets) if self.training and targets is not None else None)
            finally:
                self.maps.given = {}
        return found if self.training else [self._valued(one) for one in found]

    def _indexed(self, targets: Sequence[Boxes]) -> list[Boxes]:
        """Return targets with class indices from 1 in place of class values."""
        return [{"boxes": one["boxes"].float().reshape(-1, 4), "labels": self._index(one["labels"])} for one in targets]

    def _index(self, labels: Tensor) -> Tensor:
        known = labels.reshape(-1, 1) == self.values[1:]
        all_known = known.any(1).all()
        if labels.device.type == "cuda":  # looking at it would make the host wait for the GPU, image by image
            torch._assert_async(all_known, "boxes have class values that this head does not know")
        elif not bool(all_known):
            unknown = sorted(set(labels.tolist()) - set(self.values[1:].tolist()))
            raise ValueError(f"boxes have the class values {unknown}; this head knows {self.values[1:].tolist()}")
        return known.long().argmax(1) + 1

    def _valued(self, found: Boxes) -> Boxes:
        return found | {"labels": self.values[found["labels"]]}


class _GivenMaps(nn.Module):
    """Stands where torchvision has its backbone: returns the maps that the pyramid made of the tokens."""

    def __init__(self, out_channels: int) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.given: dict[str, Tensor] = {}

    def forward(self, _images: Tensor) -> dict[str, Tensor]:
        """Return the maps, finest first."""
        return self.given


class _Unchanged(nn.Module):
    """Stands where torchvision resizes and normalises: the images have the scale of the model already."""

    def forward(self, images: list[Tensor], targets: list[Boxes] | None = None) -> tuple[ImageList, list[Boxes] | None]:
        """Return the images as they are."""
        return ImageList(torch.stack(images), [(image.shape[-2], image.shape[-1]) for image in images]), targets

    def postprocess(self, found: list[Boxes], _sizes: list[tuple[int, int]], _original: list[tuple[int, int]]) -> list[Boxes]:
        """Return the boxes as they are."""
        return found


class _Anchors(AnchorGenerator):  # type: ignore[misc]
    """Anchors at exact strides; torchvision's are whole pixels, which patches of 14 px and odd grids are not."""

    def __init__(self, strides: Sequence[float], scales: Sequence[float]) -> None:
        sizes = tuple(tuple(stride * ANCHOR * scale for scale in scales) for stride in strides)
        super().__init__(sizes, (_RATIOS,) * len(strides))
        self.strides = tuple(strides)

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        """Return the anchors (N, 4) of each image, all levels one after the other."""
        first = feature_maps[0]
        self.set_cell_anchors(first.dtype, first.device)
        steps = [[stride] * 2 for stride in self.strides]  # plain numbers: as tensors each would be copied to a GPU, which waits
        anchors = torch.cat(self.grid_anchors([list(one.shape[-2:]) for one in feature_maps], steps))
        return [anchors] * len(image_list.image_sizes)


def _faster_rcnn(maps: _GivenMaps, classes: int, strides: Sequence[float]) -> nn.Module:
    hidden = 4 * maps.out_channels
    detector: nn.Module = FasterRCNN(
        maps,
        rpn_anchor_generator=_Anchors(strides, (1.0,)),
        box_roi_pool=_pooling(strides),
        box_head=TwoMLPHead(maps.out_channels * _POOLED**2, hidden),
        box_predictor=FastRCNNPredictor(hidden, classes),
        box_detections_per_img=MOST_OBJECTS,
        box_batch_size_per_image=SAMPLED,
    )
    return detector


def _retinanet(maps: _GivenMaps, classes: int, strides: Sequence[float]) -> nn.Module:
    anchors = _Anchors(strides, (1.0, 2 ** (1 / 3), 2 ** (2 / 3)))
    detector: nn.Module = RetinaNet(maps, classes, anchor_generator=anchors, detections_per_img=MOST_OBJECTS)
    return detector


def _pooling(strides: Sequence[float]) -> MultiScaleRoIAlign:
    """Return the pooling of boxes with its scales set; torchvision would round them to powers of two."""
    pooling = MultiScaleRoIAlign([str(level) for level in range(len(strides))], _POOLED, sampling_ratio=2)
    pooling.scales = [1 / stride for stride in strides]
    finest, coarsest = round(log2(strides[0])), round(log2(strides[-1]))
    pooling.map_levels = initLevelMapper(finest, coarsest)
    return pooling
