"""Which images train, select and test."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from napari_sdmae.config.finetune import LabelsConfig
from napari_sdmae.data.image_folder import DataError
from napari_sdmae.data.labelled.labelled_set import LabelledImage
from napari_sdmae.data.labelled.splits import refuse_untrainable, split_images

PARTS = ("train", "validation", "test")


def image(name: str, label: int, group: str | None = None) -> LabelledImage:
    return LabelledImage(Path(name), name, "train", group, None, label=label, counts=((label, 1),))


def divide(images, declared=None, seed=0, **settings):
    return split_images(images, declared or [None] * len(images), LabelsConfig(**settings), seed)


def slides(rng: np.random.Generator, count: int = 30, classes: int = 4) -> list[LabelledImage]:
    """Slides of 1 to 60 tiles, each of one or two classes, one of them rare."""
    images = []
    for slide in range(count):
        kinds = [classes - 1] if slide % 10 == 0 else rng.choice(classes - 1, 2)
        images += [image(f"s{slide:02}-{tile}", int(rng.choice(kinds)), f"slide {slide}") for tile in range(rng.integers(1, 60))]
    return images


def sides(images: list[LabelledImage]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for one in images:
        found.setdefault(str(one.group), set()).add(one.part)
    return found


@pytest.mark.parametrize("seed", range(20))
def test_no_slide_is_on_two_sides_and_every_part_has_every_class(seed):
    split = divide(slides(np.random.default_rng(seed)), seed=seed)
    assert all(len(parts) == 1 for parts in sides(split.images).values())
    for part in PARTS:
        assert {one.label for one in split.images if one.part == part} == {0, 1, 2, 3}
    assert split.warnings == []


@pytest.mark.parametrize("seed", range(10))
def test_parts_are_about_as_large_as_asked_and_classes_keep_their_shares(seed):
    images = divide(slides(np.random.default_rng(seed), 200), seed=seed).images
    sizes = Counter(one.part for one in images)
    for part, fraction in zip(PARTS, (0.6, 0.2, 0.2), strict=True):
        assert sizes[part] / len(images) == pytest.approx(fraction, abs=0.05)
        for label in range(4):
            share = np.mean([one.label == label for one in images])
            inside = np.mean([one.label == label for one in images if one.part == part])
            assert inside == pytest.approx(share, abs=0.05)


def test_single_images_are_stratified_exactly():
    images = [image(f"{index:03}", int(index % 10 == 0), f"slide {index}") for index in range(100)]
    counts = Counter((one.part, one.label) for one in divide(images).images)
    assert counts == {
        ("train", 0): 54,
        ("validation", 0): 18,
        ("test", 0): 18,
        ("train", 1): 6,
        ("validation", 1): 2,
        ("test", 1): 2,
    }


def test_the_seed_decides():
    images = slides(np.random.default_rng(0))
    assert divide(images, seed=3) == divide(images, seed=3)
    assert divide(images, seed=3).images != divide(images, seed=4).images


def test_an_order_of_the_images_does_not_matter():
    images = slides(np.random.default_rng(0))
    shuffled = [images[index] for index in np.random.default_rng(1).permutation(len(images))]
    parts = {one.name: one.part for one in divide(images).images}
    assert {one.name: one.part for one in divide(shuffled).images} == parts


@pytest.mark.parametrize(
    ("groups", "expected", "said"),
    [
        (3, {"train": 1, "validation": 1, "test": 1}, []),
        (2, {"train": 1, "validation": 1}, ["too few images or groups (2): none is kept apart for test"]),
    ],
)
def test_few_groups(groups, expected, said):
    images = [image(f"{index}", index // groups % 2, f"patient {index % groups}") for index in range(12)]
    split = divide(images)
    assert {part: len({one.group for one in split.images if one.part == part}) for part in expected} == expected
    assert all(len(parts) == 1 for parts in sides(split.images).values())
    assert split.warnings == said


def test_training_keeps_the_only_slide_of_a_class():
    split = divide([image(f"{index}", index % 2, f"slide {index % 2}") for index in range(12)])
    assert {one.part for one in split.images} == {"train"}
    assert split.warnings == ["too few images or groups (2): none is kept apart for validation and test"]


def test_one_slide_alone_is_split_by_image_and_says_so():
    split = divide([image(f"{index}", index % 2, "slide A") for index in range(20)])
    assert Counter(one.part for one in split.images) == {"train": 12, "validation": 4, "test": 4}
    assert "all images are of slide A" in split.warnings[0]


def test_unknown_slides_are_told():
    split = divide([image(f"{index}", index % 2) for index in range(20)])
    assert "tiles from one slide may land in both training and test sets" in split.warnings[0]
    mixed = [image(f"{index}", index % 2, "slide A" if index < 5 else None) for index in range(20)]
    split = divide(mixed)
    assert split.warnings[0].startswith("15 of 20 images have no slide ID")
    assert len(sides(split.images)["slide A"]) == 1


def test_single_images_can_be_forced():
    images = [image(f"{index}", index % 2, "slide A" if index % 3 else "slide B") for index in range(30)]
    split = divide(images, ["train"] * 30, split="image")
    assert Counter(one.part for one in split.images) == {"train": 18, "validation": 6, "test": 6}
    assert "labels.split image" in split.warnings[0]


def test_nothing_is_kept_apart_where_nothing_is_asked():
    images = [image(f"{index}", index % 2, f"slide {index}") for index in range(10)]
    assert {one.part for one in divide(images, validation=0, test=0).images} == {"train"}
    assert {one.part for one in divide(images, validation=0, test=0.3).images} == {"train", "test"}


DIVIDES = 1
"""A seed that puts slides 0 and 1 into different parts."""


@pytest.mark.parametrize("declared", [["train", "test"] + ["train"] * 8, None])
def test_a_file_that_is_listed_twice_is_never_on_two_sides(declared):
    """Also not where its rows name different slides, so that nothing else would keep it together."""
    images = [image(f"{index}.png", index % 2, f"slide {index}") for index in range(10)]
    images[1] = image("0.png", 1, "slide 1")
    with pytest.raises(DataError, match=r"1 of 9 files are listed several times and in several parts, such as 0\.png \("):
        divide(images, declared, seed=DIVIDES)


def test_given_parts_are_kept_and_blanks_are_trained_on():
    images = [image(f"{index}", index % 2, f"slide {index}") for index in range(9)]
    given = ["train"] * 3 + ["validation"] * 2 + ["test"] * 2 + [None] * 2
    split = divide(images, given)
    assert [one.part for one in split.images] == ["train"] * 3 + ["validation"] * 2 + ["test"] * 2 + ["train"] * 2
    assert split.warnings == ["2 images have no part and are trained on"]


def test_a_validation_part_is_cut_from_training_by_slide():
    images = [image(f"{index:02}", index % 2, f"slide {index // 4}") for index in range(40)]
    split = divide(images, ["train"] * 32 + ["test"] * 8)
    assert [one.part for one in split.images[32:]] == ["test"] * 8
    assert all(len(parts) == 1 for parts in sides(split.images).values())
    assert 4 <= sum(one.part == "validation" for one in split.images) <= 8


def test_a_group_on_two_sides_of_given_parts_is_refused():
    images = [image(f"{index}", 0, f"patient {index % 3}") for index in range(6)]
    with pytest.raises(
        DataError, match=r"3 of 3 groups are on both sides of the given split, such as patient 0 \(test and train\)"
    ):
        divide(images, ["train"] * 3 + ["test"] * 3)


def test_only_test_images_are_refused_for_training_alone():
    split = divide([image("a", 0), image("b", 1)], ["test", "test"])
    assert [one.part for one in split.images] == ["test", "test"]
    with pytest.raises(DataError, match="no image is named for training, only for test"):
        refuse_untrainable(split.images)
