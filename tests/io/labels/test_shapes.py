"""What encloses no area, in words."""

from napari_sdmae.io.labels.shapes import skipped


def test_what_is_skipped_is_counted_by_kind() -> None:
    assert skipped({"path": 1}) == "skipped 1 path: it encloses no area"
    assert skipped({"path": 1, "line": 2}) == "skipped 2 lines, 1 path: they enclose no area"
