"""Folders named by what a person called something."""

from pathlib import Path

from napari_sdmae.widgets.base.folders import free_folder


def test_a_name_never_leaves_its_folder_and_never_meets_one_that_exists(tmp_path: Path) -> None:
    for name in ("a/b", "/etc/a", "..", "C: why?", ""):
        assert free_folder(tmp_path, name, "layers").parent == tmp_path
    for expected in ("a-b-sources", "a-b-2-sources", "a-b-3-sources"):
        folder = free_folder(tmp_path, "a/b", "layers", ending="-sources")
        assert folder == tmp_path / expected
        folder.mkdir()
    assert free_folder(tmp_path, "?", "layers").name == "layers"
