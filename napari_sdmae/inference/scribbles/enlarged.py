"""A field enlarged for the encoder, so that its patches cover less tissue, and its probabilities back on the field."""

from __future__ import annotations

from napari_sdmae.inference.prediction.rescale import RescaledPicture, label_grids, linear
from napari_sdmae.io.images.field import check_size_of
from napari_sdmae.io.images.pictures import ArrayPicture
from napari_sdmae.typing import RGB, Floats


def enlarge(field: RGB, detail: int, mpp: float | None) -> RescaledPicture:
    """Return a field, uint8 (H, W, 3), as the encoder sees it with `detail` times as many pixels along each edge.

    Raises
    ------
    ValueError
        If `detail` is not a whole number from 1, or the scale `mpp` of an enlarged field is not known.
    InvalidFieldError
        If the enlarged field is too large.
    """
    if detail < 1:
        raise ValueError(f"detail {detail}: expected a whole number from 1")
    if detail > 1 and mpp is None:
        raise ValueError(
            "finer detail needs a picture of known scale, so that a saved head sees it alike: set the layer's scale in µm"
        )
    check_size_of(field.shape[0] * detail, field.shape[1] * detail)
    return RescaledPicture(ArrayPicture(field, mpp), field.shape[0] * detail, field.shape[1] * detail)


def read_whole(seen: RescaledPicture) -> RGB:
    """Return all pixels that the encoder sees."""
    return seen.read(0, 0, seen.rows, seen.columns)


def on_the_field(shares: Floats, seen: RescaledPicture) -> Floats:
    """Return probabilities (C, h, w) of what was seen on the pixels of the field, as prediction with a head puts them there."""
    if (seen.rows, seen.columns) == (seen.picture.height, seen.picture.width):
        return shares
    rows, columns = label_grids(seen, 1)
    return linear(shares, rows.positions(0, rows.length), columns.positions(0, columns.length))
