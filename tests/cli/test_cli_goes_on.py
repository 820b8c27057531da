"""``sdmae predict`` started again finishes what is missing, keeps what is there, and ends as one call that was never killed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from napari_sdmae.cli import main
from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.io import atomic
from napari_sdmae.io.checkpoints.head_folder import save_head
from napari_sdmae.io.checkpoints.new_head import new_head
from napari_sdmae.labels.label_map import make_classes

FAST = ["--device", "cpu", "--precision", "fp32", "--mpp", "0.5"]
CLASSES = make_classes(["=cmd|' /C calc'!A0", "tumour", "stroma"])
Predict = Callable[..., int]


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of two small heads with random weights, for tiles of 64 px at 0.5 µm/px."""
    folder = tmp_path_factory.mktemp("heads")
    for task in ("segmentation", "classification"):
        encoder = {"width": 48, "depth": 2, "heads": 3, "tile_size": 64}
        config = FinetuneConfig(task=task, data="x", encoder=encoder, mpp=0.5, head={"decoder": "linear", "width": 16})
        save_head(folder / task, new_head(config, CLASSES))
    return folder


@pytest.fixture
def images(tissue: Path, tmp_path: Path) -> Path:
    """A folder with three tiles of tissue, one in a sub-folder."""
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    for name, path in zip(("a.jpg", "b.jpg", "sub/c.jpg"), sorted(tissue.glob("tiles/colon/*.jpg")), strict=False):
        (folder / name).write_bytes(path.read_bytes())
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def predict(head: Path, image: Path, output: Path, *more: str) -> int:
    return main(["predict", str(head), str(image), "--output", str(output), *FAST, *more])


def test_what_is_missing_is_made_and_all_is_as_in_one_call(
    heads: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head, output, more = heads / "segmentation", tmp_path / "out", ["--format", "ome-zarr", "png", "csv", "geojson"]
    assert predict(head, images / "a.jpg", output, *more) == 0
    before = {name: (output / name).stat().st_mtime_ns for name in tree(output)}
    capsys.readouterr()
    assert predict(head, images, output, *more) == 0
    said = capsys.readouterr()
    assert "sdmae predict: 1 of 3 images were finished before and are kept" in said.err
    assert not any(Path(line).name.startswith("a-") for line in said.out.splitlines())
    assert before.items() <= {name: (output / name).stat().st_mtime_ns for name in tree(output)}.items()
    assert predict(head, images, tmp_path / "whole", *more) == 0
    assert tree(output) == tree(tmp_path / "whole")
    capsys.readouterr()
    assert predict(head, images, output, *more) == 2
    assert "all 3 images were finished before" in capsys.readouterr().err


def test_the_table_of_classes_goes_on_too(heads: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head, output = heads / "classification", tmp_path / "out"
    assert predict(head, images / "b.jpg", output) == 0
    assert predict(head, images, output) == 0
    assert predict(head, images, tmp_path / "whole") == 0
    assert tree(output) == tree(tmp_path / "whole")
    text = (output / "classification.csv").read_text(encoding="utf-8-sig")
    assert ",=" not in text
    assert set(pd.read_csv(output / "classification.csv")["class"]) <= {"'=cmd|' /C calc'!A0", "tumour", "stroma"}
    (output / "classification.csv").unlink()
    assert predict(head, images, output) == 0
    assert tree(output) == tree(tmp_path / "whole")
    (output / "classification.csv").write_text("mine")
    (output / "b-prediction.json").unlink()
    capsys.readouterr()
    assert predict(head, images, output) == 2
    assert "classification.csv already in" in capsys.readouterr().err
    assert (output / "classification.csv").read_text() == "mine"


def test_a_file_that_is_gone_is_made_again_and_the_others_stay(heads: Path, images: Path, tmp_path: Path) -> None:
    head, output = heads / "segmentation", tmp_path / "out"
    assert predict(head, images / "a.jpg", output) == 0
    table = (output / "a-measurements.csv").read_bytes()
    (output / "a-measurements.csv").unlink()
    (output / "a-labels.geojson").write_text("corrected in QuPath")
    assert predict(head, images / "a.jpg", output) == 0
    assert (output / "a-measurements.csv").read_bytes() == table
    assert (output / "a-labels.geojson").read_text() == "corrected in QuPath"


def _touched(head: Path, images: Path, output: Path) -> list[str]:
    os.utime(images / "a.jpg", ns=(1, 1))
    return []


def _of_an_earlier_version(head: Path, images: Path, output: Path) -> list[str]:
    told = json.loads((output / "a-prediction.json").read_text())
    del told["recipe"]
    (output / "a-prediction.json").write_text(json.dumps(told))
    return []


def _without_its_report(head: Path, images: Path, output: Path) -> list[str]:
    (output / "a-prediction.json").unlink()
    return []


def _other_head(head: Path, images: Path, output: Path) -> list[str]:
    config = json.loads((head / "config.json").read_text())
    config["provenance"] = {"trained": "on"}
    (head / "config.json").write_text(json.dumps(config))
    return []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_touched, "of another picture, or one changed since"),
        (_of_an_earlier_version, "of an earlier version of napari-sdmae"),
        (_without_its_report, "a-labels.geojson already in"),
        (lambda *_: ["--step", "2"], "of other settings (step)"),
        (_other_head, "of another head, or one trained on since"),
    ],
)
def test_results_of_something_else_are_refused(
    heads: Path,
    images: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[..., list[str]],
    reason: str,
) -> None:
    head, output = tmp_path / "head", tmp_path / "out"
    head.mkdir()
    for path in (heads / "segmentation").iterdir():
        (head / path.name).write_bytes(path.read_bytes())
    assert predict(head, images / "a.jpg", output) == 0
    more = change(head, images, output)
    before = tree(output)
    capsys.readouterr()
    assert predict(head, images, output, *more) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert "--overwrite" in error
    assert error.count("\n") == 1
    assert tree(output) == before


def test_a_full_disk_ends_the_batch_in_one_line_and_leaves_nothing_half(
    heads: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed = 0

    def full(handle: int) -> None:
        nonlocal flushed
        flushed += 1
        if flushed > 20:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", full)
    assert predict(heads / "segmentation", images, tmp_path / "out") == 1
    said = [line for line in capsys.readouterr().err.splitlines() if "No space" in line]
    assert said == [f"sdmae predict: {tmp_path / 'out'}: No space left on device"]
    names = sorted(tree(tmp_path / "out"))
    ends = ["labels.geojson", "measurements.csv", "overlay.png", "prediction.json"]
    assert names == [f"a-{end}" for end in ends]
    monkeypatch.undo()
    assert predict(heads / "segmentation", images, tmp_path / "out") == 0
    assert "1 of 3 images were finished before" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["embed", "reconstruct", "attention", "evaluate"])
def test_folders_links_and_pipes_in_the_place_of_outputs_are_refused_at_once(
    heads: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    output = tmp_path / "out"
    output.mkdir()
    name = {"embed": "f.npz", "evaluate": "f.json", "reconstruct": "a-input.png", "attention": "a-received-b1.png"}[command]
    target = output / name if command in ("embed", "evaluate") else output
    arguments = [str(heads / "segmentation"), *([] if command == "evaluate" else [str(images / "a.jpg")])]
    arguments += ["--data", str(images)] if command == "evaluate" else []
    for make in (Path.mkdir, os.mkfifo, lambda path: path.symlink_to(tmp_path / "elsewhere")):
        make(output / name)
        assert main([command, *arguments, "--output", str(target), "--overwrite"]) == 2
        error = capsys.readouterr().err
        assert name in error
        assert error.count("\n") == 1
        (output / name).rmdir() if (output / name).is_dir() else (output / name).unlink()
    assert not (tmp_path / "elsewhere").exists()
