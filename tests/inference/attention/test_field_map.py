"""How much a field is reduced before it is encoded."""

import pytest

from napari_sdmae.inference.attention.field_map import choose_downsample
from napari_sdmae.io.images.field import InvalidFieldError


def test_a_large_field_is_reduced_by_as_much_as_it_must_be():
    assert choose_downsample((512, 512), 16) == 1
    assert choose_downsample((1100, 1040), 16) == 2
    assert choose_downsample((512, 512), 16, 2) == 2


def test_what_cannot_be_encoded_is_refused_with_what_to_do():
    with pytest.raises(InvalidFieldError, match="or downsample by 2"):
        choose_downsample((1100, 1040), 16, 1)
    with pytest.raises(InvalidFieldError, match="choose a larger region"):
        choose_downsample((24, 24), 16, 2)
    with pytest.raises(ValueError, match="expected auto"):
        choose_downsample((512, 512), 16, 0)
