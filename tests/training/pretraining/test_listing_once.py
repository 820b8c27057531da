"""A start asks each image for its status once: on a network disk, asking a million files takes longer than all the rest."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from napari_sdmae.cli.common import progress
from napari_sdmae.config.pretrain import TilesConfig
from napari_sdmae.data import listing
from napari_sdmae.data.image_folder import DataError, find_images, require_images
from napari_sdmae.data.tiles import cache
from napari_sdmae.io.images.read import IMAGE_SUFFIXES
from napari_sdmae.runs.events import Preparing, Warned
from napari_sdmae.training import pretrain


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file below a source was asked for its status."""
    asked: Counter[str] = Counter()
    describe = listing._describe

    def counted(path: Path, root: Path) -> listing.SourceFile | str:
        asked[path.name] += 1
        return describe(path, root)

    monkeypatch.setattr(listing, "_describe", counted)
    return asked


def test_the_folder_is_walked_once(make_config, tmp_path: Path, walks: Counter[str]) -> None:
    made = make_config()
    data = shutil.copytree(made.data, tmp_path / "data")
    (data / "slide.svs").write_bytes(b"x")
    images = {path.name for path in data.rglob("*") if path.suffix in IMAGE_SUFFIXES}
    events = list(pretrain(made.model_copy(update={"data": data, "epochs": 1}), run=tmp_path / "run"))
    assert walks.keys() >= images
    assert {walks[name] for name in images} == {1}
    assert any(isinstance(event, Preparing) and event.message == "listing the images" for event in events)
    assert any(isinstance(event, Warned) and ".svs" in event.message for event in events)


@pytest.mark.parametrize("below", ["", "class/"])
def test_a_new_run_looks_for_one_image_and_reads_no_folder_to_its_end(
    tmp_path: Path, walks: Counter[str], monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    folder = tmp_path / "data" / below
    folder.mkdir(parents=True)
    for number in range(50):
        (folder / f"{number}.png").touch()
    read: list[str] = []

    @contextmanager
    def counted(path: Path) -> Iterator[Iterator[os.DirEntry[str]]]:
        with scandir(path) as entries:
            yield (read.append(entry.name) or entry for entry in entries)

    scandir = os.scandir
    monkeypatch.setattr(listing.os, "scandir", counted)
    require_images(tmp_path / "data")
    assert read == [*([below.rstrip("/")] if below else []), read[-1]]
    assert not walks


def test_a_folder_without_images_is_refused_with_what_lies_there(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    (tmp_path / "._a.png").touch()
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "a.png").touch()
    with pytest.raises(DataError, match=r"no images in .* without masks .*\.txt"):
        require_images(tmp_path, ["masks"])


def test_images_behind_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "a.png").touch()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "link").symlink_to(tmp_path / "far")
    require_images(tmp_path / "data")


def test_the_way_of_a_large_folder_is_told_from_the_beginning(
    make_config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cache, "PROGRESS_S", 0.0)
    source = make_config().data
    told = list(cache.prepare_tiles(source, TilesConfig(cache=tmp_path / "cache")))
    listed = [step for step in told if step.message == "listing the images"]
    number = len(find_images(source))
    assert [(step.done, step.total) for step in listed[:number]] == [(done, 0) for done in range(1, number + 1)]
    assert told[: len(listed)] == listed, "before anything else"
    many = [Preparing(done, 0, "listing the images") for done in (1, 9_000, 11_000, 19_000, 25_000)]
    list(progress.show(iter(many), tmp_path))
    lines = capsys.readouterr().err.splitlines()[:-1]  # the last is the run folder
    assert lines == [f"preparing: listing the images, {done} so far" for done in ("1", "11,000", "25,000")]
