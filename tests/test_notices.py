"""One rule of when a model sees another scale than its own."""

import pytest

from napari_sdmae.notices import scale_notes


@pytest.mark.parametrize("shown", [0.25, 0.5, 0.75, None])
def test_within_what_crops_show_nothing_is_said(shown: float | None) -> None:
    assert scale_notes(0.5, shown) == []
    assert scale_notes(None, shown) == []


@pytest.mark.parametrize(("shown", "how"), [(0.249, "much finer"), (0.751, "much coarser"), (4.0, "much coarser")])
def test_outside_it_is_said_which_way(shown: float, how: str) -> None:
    (note,) = scale_notes(0.5, shown)
    assert how in note
    assert "trained at 0.5 µm/px" in note
