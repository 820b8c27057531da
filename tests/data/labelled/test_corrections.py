"""Corrections join a folder as a whole or not at all, and never take the place of what others wrote."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.data.labelled.corrections import add_correction
from napari_sdmae.data.labelled.read import read_labelled
from napari_sdmae.data.labelled.write import LabelledPicture
from napari_sdmae.labels.label_map import make_classes

CLASSES = make_classes(["tumour", "stroma"], 1)


def picture(name: str, slide: str = "s", value: int = 1) -> LabelledPicture:
    labels = np.zeros((40, 50), np.int32)
    labels[5:20, 5:20], labels[25:30, 5:20] = value, 2
    return LabelledPicture(name, np.full((40, 50, 3), 120, np.uint8), labels, slide=slide, mpp=0.5)


def add(folder: Path, one: LabelledPicture, replace: bool = False) -> Path:
    about = {"source": one.slide}
    return add_correction(one, folder, CLASSES, task="segmentation", unpainted=255, provenance=about, replace=replace)


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_names_that_are_formulas_come_back_as_they_were(tmp_path: Path) -> None:
    slides = ["=cmd|' /C calc'!A0", "-1+1", "'=quoted", "plain"]
    for number, slide in enumerate(slides):
        add(tmp_path / "new", picture(f"p{number}", slide))
    text = (tmp_path / "new" / "table.csv").read_text()
    assert ",=" not in text
    assert ",-1+1" not in text
    labelled = read_labelled(FinetuneConfig(task="segmentation", data=tmp_path / "new"))
    assert {image.group for image in labelled.images} == {f"slide {slide}" for slide in slides}


@pytest.mark.parametrize("call", ["fsync", "rename", "replace"])
def test_an_error_of_the_disk_leaves_the_folder_as_it_was(tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "new"
    add(folder, picture("first"))
    before = tree(folder)

    def failing(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, call, failing)
        with pytest.raises(OSError, match="No space left") as caught:
            add(folder, picture("second"))
    assert caught.value.errno == errno.ENOSPC
    assert {name: data for name, data in tree(folder).items() if "/." not in f"/{name}"} == before


def test_files_of_others_stay(tmp_path: Path) -> None:
    for name, text in (("table.csv", "file,mask\na.png,masks/a.png\n"), ("classes.json", "{}")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_text(text)
        with pytest.raises(ValueError, match=f"holds a {name} that no correction wrote"):
            add(folder, picture("p"), replace=True)
        assert tree(folder) == {name: text.encode()}
    add(tmp_path / "new", picture("first"))
    (tmp_path / "new" / "images" / "second.tif").write_text("mine")
    with pytest.raises(FileExistsError, match=r"second\.tif"):
        add(tmp_path / "new", picture("second"))
    assert (tmp_path / "new" / "images" / "second.tif").read_text() == "mine"


def test_replaced_only_where_it_is_asked_for(tmp_path: Path) -> None:
    add(tmp_path / "new", picture("p"))
    before = tree(tmp_path / "new")
    with pytest.raises(FileExistsError, match="saved already"):
        add(tmp_path / "new", picture("p", value=2))
    assert tree(tmp_path / "new") == before
    add(tmp_path / "new", picture("p", value=2), replace=True)
    changed = tree(tmp_path / "new")
    assert [name for name in before if before[name] != changed[name]] == ["masks/p.png"]
    assert changed.keys() == before.keys()
