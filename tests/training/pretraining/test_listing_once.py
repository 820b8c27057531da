"""A start asks each image for its status once: on a network disk, asking a million files takes longer than all the rest."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from napari_sdmae.cli.common import progress
from napari_sdmae.config.pretrain import TilesConfig
from napari_sdmae.data import listing
from napari_sdmae.data.image_folder import find_images
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
    assert sum(walks[name] - 1 for name in images) == 1, (
        "but for the first one, which a new run looks for before it takes the folder"
    )
    assert any(isinstance(event, Preparing) and event.message == "listing the images" for event in events)
    assert any(isinstance(event, Warned) and ".svs" in event.message for event in events)


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
