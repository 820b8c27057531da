"""Metrics against hand-worked cases, slow NumPy and torchmetrics' own."""

from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torchmetrics.detection import PanopticQuality
from torchmetrics.functional.classification import binary_auroc, multiclass_jaccard_index

from napari_sdmae.metrics import (
    IGNORE,
    ClassificationMetrics,
    DetectionMetrics,
    FoundBoxes,
    InstanceMetrics,
    SegmentationMetrics,
    aggregated_jaccard,
    overlaps,
    selecting_metric,
)


@pytest.fixture
def chance() -> np.random.Generator:
    return np.random.default_rng(0)


def test_segmentation_by_hand():
    """Class a: 2 of a union of 3; class b: 1 of 2; class c is nowhere and is not counted."""
    found = SegmentationMetrics(["a", "b", "c"])
    found.update(np.array([[0, 0], [0, 1]]), np.array([[0, 0], [1, 1]]))
    found.update(np.array([[2, 0]]), np.array([[IGNORE, IGNORE]]))
    assert found.compute() == pytest.approx({"mIoU": (2 / 3 + 1 / 2) / 2, "Dice": (4 / 5 + 2 / 3) / 2, "accuracy": 3 / 4})
    assert found.per_class() == {
        "a": pytest.approx({"IoU": 2 / 3, "Dice": 4 / 5}),
        "b": pytest.approx({"IoU": 1 / 2, "Dice": 2 / 3}),
        "c": {},
    }
    assert found.confusion() == [[2, 0, 0], [1, 1, 0], [0, 0, 0]]


def test_a_class_that_was_only_predicted_counts_as_wrong():
    found = SegmentationMetrics(["a", "b"])
    found.update(np.array([[0, 1]]), np.array([[0, 0]]))
    assert found.compute()["mIoU"] == pytest.approx((1 / 2 + 0) / 2)


def test_segmentation_like_torchmetrics_over_several_images(chance):
    found, pairs = SegmentationMetrics("abcd"), []
    for _ in range(3):
        prediction, truth = chance.integers(0, 4, (9, 7)), chance.integers(-1, 4, (9, 7))
        found.update(prediction, truth)
        pairs.append((torch.from_numpy(prediction).flatten(), torch.from_numpy(truth).flatten()))
    whole = (torch.cat(side) for side in zip(*pairs, strict=True))
    assert found.compute()["mIoU"] == pytest.approx(float(multiclass_jaccard_index(*whole, num_classes=4, ignore_index=IGNORE)))


def test_nothing_that_can_be_counted_gives_no_numbers():
    pixels, objects = SegmentationMetrics(["a", "b"]), InstanceMetrics(["nucleus"])
    pixels.update(np.zeros((2, 2), int), np.full((2, 2), IGNORE))
    objects.update(np.zeros((2, 2), int), np.zeros((2, 2), int))
    assert pixels.compute() == objects.compute() == ClassificationMetrics(["a", "b"]).compute() == {}


def test_classification_by_hand():
    """Five images: a a a b b, called a a b b a; class c has no image, yet is never called either."""
    probabilities = np.array([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.3, 0.6, 0.1], [0.2, 0.7, 0.1], [0.5, 0.4, 0.1]])
    found = ClassificationMetrics(["a", "b", "c"])
    found.update(probabilities[:2], np.array([0, 0]))
    found.update(probabilities[2:], np.array([0, 1, 1]))
    values = found.compute()
    assert values["accuracy"] == pytest.approx(3 / 5)
    assert values["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert values["F1"] == pytest.approx((2 * 2 / (3 + 3) + 2 * 1 / (2 + 2)) / 2)
    # of the 6 pairs of an a and a b, class a orders (.8 .6 .3) against (.2 .5): 5 right; class b (.7 .4) against (.1 .3 .6): 5
    assert values["AUROC"] == pytest.approx(5 / 6)
    assert found.confusion() == [[2, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert found.per_class()["c"] == {}
    assert found.per_class()["b"] == pytest.approx({"recall": 1 / 2, "precision": 1 / 2, "F1": 1 / 2, "AUROC": 5 / 6})


def test_balanced_accuracy_leaves_out_a_class_without_images():
    found = ClassificationMetrics(["a", "b"])
    found.update(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 0]))
    assert found.compute()["balanced_accuracy"] == pytest.approx(1 / 2)
    assert "AUROC" not in found.compute()


def test_auroc_of_two_classes_is_the_binary_one(chance):
    scores, truth = chance.random(40), chance.integers(0, 2, 40)
    found = ClassificationMetrics(["no", "yes"])
    found.update(np.stack([1 - scores, scores], 1), truth)
    assert found.compute()["AUROC"] == pytest.approx(float(binary_auroc(torch.from_numpy(scores), torch.from_numpy(truth))))


def blocks(shape: tuple[int, int], *places: tuple[int, int, int, int]) -> np.ndarray:
    """Return objects 1, 2 … that fill (top, bottom, left, right)."""
    labels = np.zeros(shape, np.int32)
    for number, (top, bottom, left, right) in enumerate(places, 1):
        labels[top:bottom, left:right] = number
    return labels


TRUTH = blocks((6, 12), (0, 4, 0, 4), (0, 4, 6, 10), (5, 6, 0, 2))
"""Two nuclei of 16 px and one of 2 px."""
FOUND = blocks((6, 12), (0, 4, 0, 3), (0, 2, 6, 10), (4, 6, 9, 12))
"""12 px of the first, 8 px of the second, none of the third, and 6 px on nothing."""


def test_objects_by_hand():
    """AJI: common 12 + 8, unions 16 + 16 + 2, and 6 that belong to nothing. Only the first overlaps by more than half."""
    found = InstanceMetrics(["nucleus"])
    found.update(FOUND, TRUTH)
    weight = 1 + (2 + 2) / 2
    assert found.compute() == pytest.approx(
        {"AJI": 20 / (34 + 6), "PQ": 0.75 / weight, "F1": 1 / weight, "SQ": 0.75},
    )


def test_aji_pairs_a_found_object_with_two_true_ones():
    """One object over two: 4 + 4 in common, two unions of 8, and nothing left over (Kumar's definition)."""
    both = overlaps(blocks((2, 4), (0, 2, 0, 2), (0, 2, 2, 4)), blocks((2, 4), (0, 2, 0, 4)))
    assert aggregated_jaccard(both) == pytest.approx(8 / 16)


def slow_aji(truth: np.ndarray, found: np.ndarray) -> float:
    common = union = 0
    used = set()
    for number in np.unique(truth[truth > 0]):
        mine = truth == number
        ious = {other: (mine & (found == other)).sum() / (mine | (found == other)).sum() for other in np.unique(found[found > 0])}
        best = max(ious, key=ious.get) if ious else 0
        if not ious or ious[best] == 0:
            union += mine.sum()
            continue
        used.add(best)
        common += (mine & (found == best)).sum()
        union += (mine | (found == best)).sum()
    return common / (union + sum((found == other).sum() for other in np.unique(found[found > 0]) if other not in used))


def random_objects(chance: np.random.Generator) -> np.ndarray:
    labels = np.zeros((40, 50), np.int32)
    for number in range(1, 13):
        top, left, height, width = *chance.integers(0, 34, 2), *chance.integers(3, 12, 2)
        labels[top : top + height, left : left + width] = number
    return labels


def test_aji_like_slow_numpy(chance):
    for _ in range(5):
        truth, found = random_objects(chance), random_objects(chance)
        assert aggregated_jaccard(overlaps(truth, found)) == pytest.approx(slow_aji(truth, found))


def test_panoptic_quality_like_torchmetrics(chance):
    ours, theirs = InstanceMetrics(["nucleus"]), PanopticQuality(things={1}, stuffs={0})
    common = blocks((40, 50), (0, 9, 0, 9), (20, 30, 20, 33), (33, 39, 2, 12))
    for _ in range(3):
        truth, found = random_objects(chance), np.where(chance.random((40, 50)) < 0.3, 0, random_objects(chance))
        truth, found = np.where(common, common + 20, truth), np.where(common, common + 30, found)
        ours.update(found, truth)
        pair = (torch.from_numpy(np.stack([labels > 0, labels], -1).astype(int))[None] for labels in (found, truth))
        theirs.update(*pair)
    per_class = PanopticQuality(things={1}, stuffs={0}, return_per_class=True)
    per_class.__dict__.update(
        {name: getattr(theirs, name) for name in ("iou_sum", "true_positives", "false_positives", "false_negatives")}
    )
    assert ours.compute()["PQ"] == pytest.approx(float(per_class.compute()[0][0]), abs=1e-6)
    assert 0.1 < ours.compute()["PQ"] < 0.9


def test_an_object_of_another_type_is_not_found():
    found = InstanceMetrics(["tumour", "stroma", "gland"])
    found.update(TRUTH, TRUTH, {1: 0, 2: 0, 3: 1}, {1: 0, 2: 1, 3: 1})
    assert found.per_class() == {
        "tumour": pytest.approx({"PQ": 1 / 1.5, "F1": 1 / 1.5, "SQ": 1.0}),
        "stroma": pytest.approx({"PQ": 1 / 1.5, "F1": 1 / 1.5, "SQ": 1.0}),
        "gland": {},
    }
    assert found.compute()["mPQ"] == pytest.approx(2 / 3)
    assert found.compute()["PQ"] == 1


def test_many_objects_are_counted_from_their_overlaps_not_one_by_one(monkeypatch):
    counting = Mock(wraps=overlaps)
    monkeypatch.setattr("napari_sdmae.metrics.objects.overlaps", counting)
    labels = (np.arange(1000)[:, None] // 20 * 50 + np.arange(1000)[None] // 20 + 1).astype(np.int32)
    found = InstanceMetrics(["nucleus"])
    found.update(labels, labels)
    assert found.compute() == pytest.approx({"AJI": 1, "PQ": 1, "F1": 1, "SQ": 1})
    assert counting.call_count == 1


def test_label_images_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 2\) and \(2, 3\)"):
        overlaps(np.zeros((2, 2), int), np.zeros((2, 3), int))


def test_boxes_by_hand():
    """Class 1: one of two boxes found, after no mistake: precision 1 up to recall one half (51 of COCO's 101 points)."""
    found = DetectionMetrics([(1, "mitosis"), (2, "gland"), (3, "absent")])
    truth = FoundBoxes(np.array([[0, 0, 10, 10], [30, 30, 40, 40], [50, 50, 70, 70]]), np.array([1, 1, 2]))
    prediction = FoundBoxes(np.array([[0, 0, 10, 8.2], [50, 50, 70, 70]]), np.array([1, 2]), np.array([0.9, 0.8]))
    found.update(prediction, truth)
    found.update(FoundBoxes(np.zeros((0, 4)), np.zeros(0, int)), FoundBoxes(np.zeros((0, 4)), np.zeros(0, int)))
    assert found.compute()["mAP50"] == pytest.approx((51 / 101 + 1) / 2)
    assert found.per_class()["mitosis"]["AP50"] == pytest.approx(51 / 101)
    assert found.per_class()["gland"] == pytest.approx({"AP50": 1, "AP": 1})
    # an overlap of 0.82 counts for 7 of the 10 thresholds from 0.5 to 0.95
    assert found.per_class()["mitosis"]["AP"] == pytest.approx(51 / 101 * 7 / 10)
    assert found.per_class()["absent"] == {}


def test_average_precision_without_its_package_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("napari_sdmae.metrics.boxes.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'napari-sdmae\[detect\]'"):
        DetectionMetrics([(1, "mitosis")])


def test_what_selects():
    assert [selecting_metric(task, 1) for task in ("segmentation", "instances", "classification", "detection")] == [
        "mIoU",
        "PQ",
        "balanced_accuracy",
        "mAP50",
    ]
    assert selecting_metric("instances", 3) == "mPQ"
