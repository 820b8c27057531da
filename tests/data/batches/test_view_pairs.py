"""Two views of a tile, moved by whole patches, against pixels and plain loops."""

import numpy as np

from napari_sdmae.config.pretrain import AugmentationConfig
from napari_sdmae.data.batches.augment import draw_augmentation, placement
from napari_sdmae.data.batches.view_pairs import choose_patches, corresponding_patches, patch_shifts, turned_shifts
from napari_sdmae.rng import SHIFT, uniforms

INDICES = np.arange(500)


def test_boxes_stay_inside_their_tile_and_move_by_at_most_half_of_themselves() -> None:
    for scale in ((0.06, 0.25), (0.2, 1.0), (1.0, 1.0)):
        boxes, _ = placement(draw_augmentation(0, 3, INDICES), AugmentationConfig(crop_scale=scale), 256)
        shifts = patch_shifts(uniforms(0, 3, INDICES, 2, SHIFT), boxes, 8, 256)
        corners = boxes[:, :2] + shifts * boxes[:, 2:] / 8
        assert corners.min() > -1e-9
        assert (corners + boxes[:, 2:]).max() < 256 + 1e-9
        assert abs(shifts).max() == (0 if scale[0] == 1 else 4)
        if scale[1] < 1:
            assert abs(shifts.mean(0)).max() < 0.3


def test_partners_are_where_plain_loops_find_them() -> None:
    shifts = np.array([[0, 0], [1, -2], [-3, 3], [4, 0]])
    for shift, found in zip(shifts.tolist(), corresponding_patches(shifts, 4), strict=True):
        for patch in range(16):
            row, column = patch // 4 - shift[0], patch % 4 - shift[1]
            assert found[patch] == (row * 4 + column if 0 <= row < 4 and 0 <= column < 4 else -1)


def test_a_turned_shift_is_the_shift_of_the_turned_crop() -> None:
    """A place in the crop, and the same in the moved crop, both turned: they lie the turned shift apart."""
    turns = placement(draw_augmentation(0, 0, INDICES[:64]), AugmentationConfig(), 256)[1]
    shifts = np.random.default_rng(0).integers(-2, 3, (64, 2))
    for turn, shift, turned in zip(turns, shifts, turned_shifts(shifts, turns), strict=True):
        place = np.array([1.5, 0.5])  # x, y
        first, second = np.linalg.solve(turn, place), np.linalg.solve(turn, place - shift[::-1])
        np.testing.assert_allclose((first - second)[::-1], turned)


def test_patches_are_chosen_among_candidates_only_and_evenly() -> None:
    generator = np.random.default_rng(0)
    candidates = generator.random((4000, 16)) < 0.5
    candidates[:, :3] = True
    chosen = choose_patches(generator.random((4000, 16)), candidates, 3)
    assert np.take_along_axis(candidates, chosen, 1).all()
    assert all(len(set(row)) == 3 for row in chosen.tolist())
    shares = np.bincount(chosen.ravel(), minlength=16) / candidates.sum(0)
    assert shares.max() < 1.4 * shares.min()
