"""Where a slide's picture begins: QuPath crops some slides to the scanned part, and counts from its corner."""

from __future__ import annotations

from pathlib import Path

from napari_sdmae.io.labels.errors import InvalidLabelsError

Bounds = Path | str | tuple[float, float] | None


def bounds_corner(bounds: Bounds) -> tuple[float, float]:
    """Return (x, y) in full-resolution px of the part of a slide that QuPath shows; (0, 0) where it shows all.

    Parameters
    ----------
    bounds
        The slide's file, whose properties ``openslide.bounds-x`` and ``openslide.bounds-y`` are read (nothing else is);
        or the two numbers; or None.

    Raises
    ------
    ValueError
        If OpenSlide is not installed.
    InvalidLabelsError
        If the slide is not there or OpenSlide cannot read it.
    """
    if bounds is None:
        return 0.0, 0.0
    if isinstance(bounds, tuple):
        return float(bounds[0]), float(bounds[1])
    return _read_corner(Path(bounds))


def _read_corner(slide: Path) -> tuple[float, float]:
    try:
        import openslide
    except ImportError:
        raise ValueError(
            f"the bounds of {slide} are read by OpenSlide, which is not installed: pip install 'napari-sdmae[slides]'"
        ) from None
    if not slide.exists():
        raise InvalidLabelsError(f"there is no slide {slide} to read the bounds from")
    try:
        with openslide.OpenSlide(slide) as opened:
            properties = opened.properties
            return float(properties.get("openslide.bounds-x", 0)), float(properties.get("openslide.bounds-y", 0))
    except openslide.OpenSlideError as error:
        raise InvalidLabelsError(f"OpenSlide cannot read {slide} ({error}): give the slide that the labels belong to") from None
