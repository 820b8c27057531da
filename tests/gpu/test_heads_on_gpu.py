"""Fine-tuning every head on a GPU that computes nothing, in both arithmetics: only what torchvision counts makes it wait."""

import pytest
import torch
from fake_gpu import GPU, alone
from tiny_heads import settings, tiny_head

from napari_sdmae.data.batches.labelled_tiles import Batch
from napari_sdmae.training.finetuning.engine import HeadEngine, KNNEngine
from napari_sdmae.training.loop.schedules import Schedule

HEADS = {
    "upernet": ("segmentation", {"decoder": "upernet"}, {"labels": {"balance": "weights"}}),
    "dpt": ("segmentation", {"decoder": "dpt", "loss": "cross_entropy"}, {}),
    "linear dice": ("segmentation", {"decoder": "linear", "loss": "dice"}, {}),
    "linear focal": ("segmentation", {"decoder": "linear", "loss": "focal"}, {"labels": {"balance": "weights"}}),
    "linear lovasz": ("segmentation", {"decoder": "linear", "loss": "lovasz"}, {}),
    "instances": ("instances", {"separation": "distance"}, {}),
    "boundaries": ("instances", {"decoder": "linear", "separation": "boundary"}, {}),
    "mean": ("classification", {"classifier": "mean"}, {"augmentation": {"mixup": 0.8, "label_smoothing": 0.1}}),
    "linear probe": ("classification", {"classifier": "linear_probe"}, {}),
}
NMS = "which boxes are doubles, and so how many are left, follows from the numbers"
SAMPLING = "as many boxes are learned from as the numbers make likely objects"
CHECK = "torchvision looks whether a box to learn from is empty"
COUNTED = {
    "torchvision/models/detection/generalized_rcnn.py:forward": CHECK,
    "torchvision/models/detection/retinanet.py:forward": CHECK,
    "torchvision/models/detection/_utils.py:set_low_quality_matches_": SAMPLING,
    "torchvision/models/detection/_utils.py:__call__": SAMPLING,
    "torchvision/models/detection/rpn.py:compute_loss": SAMPLING,
    "torchvision/models/detection/roi_heads.py:subsample": SAMPLING,
    "torchvision/models/detection/roi_heads.py:fastrcnn_loss": SAMPLING,
    "torchvision/models/detection/retinanet.py:compute_loss": SAMPLING,
    "torchvision/ops/poolers.py:_multiscale_roi_align": "boxes are pooled from the level of their size",
    "torchvision/models/detection/rpn.py:filter_proposals": NMS,
    "torchvision/ops/boxes.py:remove_small_boxes": NMS,
    "torchvision/ops/boxes.py:nms": NMS,
}
"""What detection cannot do without numbers, all of it in torchvision, each with the reason."""
CONSTANTS = {
    "torchvision/models/detection/_utils.py:encode_single cpu to cuda",
    "torchvision/models/detection/_utils.py:decode_single cpu to cuda",
    "torchvision/ops/boxes.py:_batched_nms_coordinate_trick cpu to cuda",
}
"""Numbers that torchvision copies to the GPU anew in each step."""


class Tiles:
    """Labelled tiles of 64 px, all alike."""

    weights = torch.ones(8).numpy()

    def __init__(self, config):
        self.config = config

    def class_weights(self):
        return (1.0, 2.0, 3.0) if self.config.labels.balance == "weights" else (1.0, 1.0, 1.0)

    def batch(self, indices, epoch, augmented=True, draws=None):
        count, map_, numbers = len(indices), torch.zeros(len(indices), 1, 64, 64), torch.zeros(len(indices), 64, 64).long()
        shares = torch.zeros(count, 3) if self.config.augmentation.mixup else numbers[:, 0, 0]
        boxes = [{"boxes": torch.zeros(n, 4), "labels": torch.zeros(n).long()} for n in range(count)]
        objects = {"foreground": map_, "separation": map_, "types": numbers}
        targets = {"segmentation": numbers, "instances": objects, "classification": shares, "detection": boxes}
        return Batch(torch.zeros(count, 3, 64, 64), targets[self.config.task])


def new_engine(task, head, changes, build=HeadEngine):
    config = settings(task, head=head, encoder={"depth": 2}, batch_size=2, optimizer={"clip_grad": 3.0}, **changes)
    model = tiny_head(task, head=head, encoder={"depth": 2}, **changes)
    return build(config, model, Tiles(config), Schedule(8, 2, 10, 1e-3, 1e-5, 1, 0), alone(), "fp32")


@pytest.mark.parametrize("name", HEADS)
def test_no_step_waits(gpu, name):
    engine = new_engine(*HEADS[name])
    gpu.found.clear()
    for step, engine.precision in enumerate(("fp32", "bf16")):
        metrics = engine.step(step)
        assert (metrics.device, metrics.shape) == (GPU, (len(engine.metric_names),))
    assert not gpu.found
    assert {tensor.device for tensor in engine.tensors().values()} == {GPU}


def test_neighbours_are_collected_without_a_wait(gpu):
    engine = new_engine("classification", {"classifier": "knn"}, {}, KNNEngine)
    gpu.found.clear()
    for step, engine.precision in enumerate(("fp32", "bf16")):
        engine.step(step)
    assert not gpu.found
    assert (engine.head.features.device, engine.head.features.shape) == (GPU, (4, 48))
    assert engine.tensors()["bank.labels"].shape == (4,)


@pytest.mark.parametrize("detector", ["faster_rcnn", "retinanet"])
def test_detection_waits_where_torchvision_counts_boxes_and_nowhere_else(gpu, detector):
    gpu.stand_ins = COUNTED
    engine = new_engine("detection", {"detector": detector}, {})
    engine.step(0)  # the first one brings the anchors to the GPU
    gpu.found.clear()
    engine.precision = "bf16"
    assert engine.step(1).device == GPU
    assert gpu.stood_in
    assert gpu.found.keys() <= CONSTANTS


def test_a_class_that_the_head_does_not_know_is_refused_on_the_gpu_too(gpu, monkeypatch):
    """There without looking: the GPU itself raises."""
    asked = []
    monkeypatch.setattr(torch, "_assert_async", lambda condition, message: asked.append((condition.shape, message)))
    head = tiny_head("detection", encoder={"depth": 1}).to(GPU).head
    assert head._index(torch.zeros(2, dtype=torch.int64, device=GPU)).device == GPU
    assert asked == [((), "boxes have class values that this head does not know")]
