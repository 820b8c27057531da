"""Boxes on a plain vision transformer."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from reference_case import tissue_crops
from tiny_heads import noise, tiny_head
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import box_iou

from napari_sdmae.models.heads.detection import _Anchors
from napari_sdmae.models.heads.head_model import HeadModel

DETECTORS = ["faster_rcnn", "retinanet"]
NOTHING = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}


@pytest.mark.parametrize("detector", DETECTORS)
def test_pictures_without_objects_teach(detector: str) -> None:
    model = tiny_head("detection", 2, head={"detector": detector}).train()
    losses = model(noise(model, 2), [NOTHING, NOTHING])
    total = sum(losses.values())
    assert total.isfinite()
    assert total > 0
    total.backward()
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in model.parameters())
    assert model.encoder.blocks[0].attn.qkv.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(("detector", "rate"), [("faster_rcnn", 3e-3), ("retinanet", 1e-3)])
def test_it_learns_boxes_at_the_scale_of_the_picture(detector: str, rate: float, tissue: Path) -> None:
    """One marked square on tissue, one tile without. Patches of 14 px have strides that torchvision would round."""
    torch.manual_seed(0)
    model = tiny_head("detection", 2, head={"detector": detector}, encoder={"patch_size": 14, "tile_size": 84, "drop_path": 0})
    tiles = torch.from_numpy(tissue_crops(tissue, 84, 2))
    tiles[0, 20:44, 40:64] = torch.tensor([255, 255, 0], dtype=torch.uint8)
    images, truth = model.normalise(tiles), torch.tensor([[40.0, 20.0, 64.0, 44.0]])
    targets = [{"boxes": truth, "labels": torch.tensor([2])}, NOTHING]
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    model.train()
    for _ in range(60):
        optimizer.zero_grad()
        sum(model(images, targets).values()).backward()
        optimizer.step()
    found = model.eval()(images)
    assert found[0]["labels"][0] == 2
    assert box_iou(found[0]["boxes"][:1], truth) > 0.7
    assert not (found[1]["scores"] >= found[0]["scores"][0]).any()


def test_class_values_need_not_be_consecutive() -> None:
    """Values 4 and 9 are the detector's classes 1 and 2, and come back as 4 and 9."""
    few = tiny_head("detection", 2)
    classes = tuple(one.model_copy(update={"value": value}) for one, value in zip(few.spec.classes, (4, 9), strict=True))
    model = HeadModel(few.encoder, few.spec.model_copy(update={"classes": classes})).train()
    assert model.head._index(torch.tensor([9, 4, 9])).tolist() == [2, 1, 2]
    assert set(model.eval()(noise(model))[0]["labels"].tolist()) <= {4, 9}


def test_a_class_that_the_head_does_not_know_is_refused() -> None:
    model = tiny_head("detection", 2)
    with pytest.raises(ValueError, match=r"class values \[7\]; this head knows \[1, 2\]"):
        model.train()(noise(model), [{"boxes": torch.tensor([[1.0, 1, 9, 9]]), "labels": torch.tensor([7])}])


def test_training_needs_targets() -> None:
    model = tiny_head("detection", 1)
    with pytest.raises(ValueError, match="give the boxes and labels"):
        model.train()(noise(model))
    assert sorted(model.eval()(noise(model))[0]) == ["boxes", "labels", "scores"]


def test_anchors_are_torchvisions_where_those_are_right() -> None:
    maps = [torch.zeros(1, 8, 64 // stride, 96 // stride) for stride in (4, 8)]
    pictures = SimpleNamespace(tensors=torch.zeros(1, 3, 64, 96), image_sizes=[(64, 96)])
    theirs = AnchorGenerator(((16,), (32,)), ((0.5, 1.0, 2.0),) * 2)(pictures, maps)[0]
    torch.testing.assert_close(_Anchors((4.0, 8.0), (1.0,))(pictures, maps)[0], theirs)


def test_anchors_of_broken_strides_stay_over_their_cells() -> None:
    pictures = SimpleNamespace(tensors=torch.zeros(1, 3, 224, 224), image_sizes=[(224, 224)])
    anchors = _Anchors((3.5,), (1.0,))(pictures, [torch.zeros(1, 8, 64, 64)])[0]
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    torch.testing.assert_close(centres[-1], torch.full((2,), 63 * 3.5))


@pytest.mark.parametrize("detector", DETECTORS)
def test_half_precision_keeps_coordinates_whole(detector: str) -> None:
    model = tiny_head("detection", 1, head={"detector": detector}).train()
    with torch.autocast("cpu", torch.bfloat16):
        losses = model(noise(model), [{"boxes": torch.tensor([[1.0, 1, 30, 30]]), "labels": torch.tensor([1])}])
        found = model.eval()(noise(model))
    assert all(loss.dtype == torch.float32 for loss in losses.values())
    assert found[0]["boxes"].dtype == torch.float32
