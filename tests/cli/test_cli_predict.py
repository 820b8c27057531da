"""``sdmae predict`` and ``sdmae embed``: what they write is what the package computes, and bad files do not end the rest."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image
from pycocotools.coco import COCO

from napari_sdmae.cli import main
from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.inference.prediction.predict import predict
from napari_sdmae.io.checkpoints.head_folder import load_head, save_head
from napari_sdmae.io.checkpoints.new_head import new_head
from napari_sdmae.io.images.read import read_image
from napari_sdmae.io.labels.registry import import_labels
from napari_sdmae.labels.label_map import make_classes

FAST = ["--device", "cpu", "--precision", "fp32"]


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small head for each task, with random weights, for tiles of 64 px at 0.5 µm/px."""
    folder = tmp_path_factory.mktemp("heads")
    for task, classes in (
        ("segmentation", make_classes(["background", "tumour", "stroma"])),
        ("instances", make_classes(["nucleus"], 1)),
        ("classification", make_classes(["normal", "tumour"])),
        ("detection", make_classes(["mitosis"], 1)),
    ):
        encoder = {"width": 48, "depth": 2, "heads": 3, "tile_size": 64}
        config = FinetuneConfig(
            task=task, data="x", encoder=encoder, mpp=0.5, head={"decoder": "linear", "width": 16, "smallest": 0.5}
        )
        save_head(folder / task, new_head(config, classes))
    return folder


@pytest.fixture
def images(tissue: Path, tmp_path: Path) -> Path:
    """A folder with two tiles of tissue, one in a sub-folder."""
    first, second = sorted(tissue.glob("tiles/colon/*.jpg"))[:2]
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    (folder / "one.jpg").write_bytes(first.read_bytes())
    (folder / "sub" / "two.jpg").write_bytes(second.read_bytes())
    return folder


def call(*arguments: object) -> int:
    return main([*map(str, arguments)])


def test_segmentation_in_all_formats(heads: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out"
    formats = ("geojson", "ome-tiff", "ome-zarr", "png", "coco", "csv")
    arguments = [heads / "segmentation", images, "--output", output, "--mpp", "0.5", "--probabilities", "--flips", *FAST]
    assert call("predict", *arguments, "--format", *formats) == 0
    written = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert all(path.exists() for path in written)
    assert output / "sub" / "two-overlay.png" in written
    pixels = read_image(images / "one.jpg")
    expected = predict(load_head(heads / "segmentation"), pixels, mpp=0.5, probabilities=True, flips=True)
    for end in ("labels.ome.tif", "labels.ome.zarr", "labels.png", "labels.json"):
        found = import_labels(output / f"one-{end}")
        np.testing.assert_array_equal(found.labels, expected.label_map.labels)
        assert found.mpp == pytest.approx(0.5)
        assert [one.name for one in found.classes] == ["tumour", "stroma"]
    drawn = import_labels(output / "one-labels.geojson", shape=pixels.shape[:2], mpp=0.5)
    np.testing.assert_array_equal(drawn.labels > 0, expected.label_map.labels > 0)
    table = pd.read_csv(output / "one-measurements.csv", encoding="utf-8-sig")
    area = (expected.label_map.labels == table["label"][0]).sum() * 0.25
    assert table["area (µm²)"][0] == pytest.approx(area, rel=1e-5)
    assert expected.probabilities is not None
    with tifffile.TiffFile(output / "one-probabilities.tif") as file:
        assert [page.description for page in file.pages] == ["background", "tumour", "stroma"]
        np.testing.assert_array_equal(file.asarray(), expected.probabilities.astype(np.float32))
    shown = np.asarray(Image.open(output / "one-overlay.png"))
    assert shown.shape == pixels.shape
    same = expected.label_map.labels == 0
    np.testing.assert_array_equal(shown[same], pixels[same])
    assert (shown[~same] != pixels[~same]).any(-1).mean() > 0.9
    told = json.loads((output / "one-prediction.json").read_text(encoding="utf-8"))
    assert "Not a medical device" in told["note"]


def test_cells_of_a_region(heads: Path, images: Path, tmp_path: Path) -> None:
    region = (40, 30, 150, 180)
    arguments = ["--region", *region, "--mpp", "0.5", "--cell-expansion", "1.5", "--smallest", "0.25", "--no-overlay", *FAST]
    assert call("predict", heads / "instances", images / "one.jpg", "--output", tmp_path / "out", *arguments) == 0
    expected = predict(
        load_head(heads / "instances"),
        read_image(images / "one.jpg"),
        mpp=0.5,
        region=region,
        cell_expansion_um=1.5,
        smallest=0.25,
    ).label_map
    table = pd.read_csv(tmp_path / "out" / "one-measurements.csv", encoding="utf-8-sig")
    assert len(table) == len(expected.class_of) > 0
    assert {"area (µm²)", "nucleus area (µm²)", "eosin OD", "probability nucleus", "class"} <= set(table.columns)
    assert (table["area (µm²)"] > table["nucleus area (µm²)"]).all()
    assert table["centroid y (px)"].between(40, 190).all()
    assert not (tmp_path / "out" / "one-overlay.png").exists()


def test_classification_writes_one_table(heads: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("predict", heads / "classification", images, "--output", tmp_path / "out", "--mpp", "0.5", *FAST) == 0
    table = pd.read_csv(tmp_path / "out" / "classification.csv", encoding="utf-8-sig")
    assert len(table) == 2 * 16
    assert table["file"].nunique() == 2
    np.testing.assert_allclose(table["probability normal"] + table["probability tumour"], 1, atol=1e-5)
    winner = np.where(table["probability tumour"] > table["probability normal"], "tumour", "normal")
    assert (table["class"] == winner).all()
    assert set(table["row"]) == {0, 64, 128, 192}
    assert str(tmp_path / "out" / "classification.csv") in capsys.readouterr().out


def test_a_table_that_cannot_be_written_is_one_line(
    heads: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    assert call("predict", heads / "classification", images, "--output", tmp_path / "out", *FAST) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("sdmae predict: ")
    assert "No space left on device" in error
    assert not list((tmp_path / "out").glob(".*tmp"))
    assert not (tmp_path / "out" / "classification.csv").exists()


def test_detection_writes_coco_that_pycocotools_reads(heads: Path, images: Path, tmp_path: Path) -> None:
    assert call("predict", heads / "detection", images / "one.jpg", "--output", tmp_path / "out", "--mpp", "0.5", *FAST) == 0
    coco = COCO(str(tmp_path / "out" / "one-boxes.json"))
    expected = predict(load_head(heads / "detection"), read_image(images / "one.jpg"), mpp=0.5).boxes
    assert [one["name"] for one in coco.loadCats(coco.getCatIds())] == ["mitosis"]
    found = [one["bbox"] for one in coco.loadAnns(coco.getAnnIds())]
    assert len(found) == len(expected)
    for (left, top, width, height), box in zip(found, expected, strict=True):
        np.testing.assert_allclose([left, top, left + width, top + height], [box.left, box.top, box.right, box.bottom], atol=0.01)


def test_boxes_tell_the_size_of_the_scene_that_was_predicted(heads: Path, images: Path, tmp_path: Path) -> None:
    tile = read_image(images / "one.jpg")
    with tifffile.TiffWriter(tmp_path / "scenes.tif") as file:
        for scene in (tile, tile[:128, :192]):
            file.write(scene, photometric="rgb", metadata=None)
    call(
        "predict", heads / "detection", tmp_path / "scenes.tif", "--scene", 2, "--output", tmp_path / "out", "--mpp", "0.5", *FAST
    )
    (written,) = json.loads((tmp_path / "out" / "scenes-boxes.json").read_text())["images"]
    assert (written["height"], written["width"]) == (128, 192)


@pytest.mark.parametrize(
    ("task", "option", "reason"),
    [
        ("classification", ["--probabilities"], "a classification head writes them into its table"),
        ("detection", ["--probabilities"], "a detection head writes scores into boxes.json"),
        ("classification", ["--overlay"], "a classification head writes a table and no picture"),
        ("classification", ["--step", "2"], "a classification head has one label for each tile"),
        ("classification", ["--flips"], "a classification head has no answer for each pixel"),
    ],
)
def test_an_option_without_effect_is_refused(
    heads: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], task: str, option: list[str], reason: str
) -> None:
    assert call("predict", heads / task, images, "--output", tmp_path / "out", *option, *FAST) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_bad_files_do_not_end_the_others(heads: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (images / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    Image.new("RGB", (5, 5)).save(images / "tiny.png")
    assert call("predict", heads / "segmentation", images, "--output", tmp_path / "out", "--mpp", "0.5", *FAST) == 1
    text = capsys.readouterr()
    assert str(images / "broken.png") in text.err
    assert "less than one patch" in text.err
    assert "2 of 4 images failed" in text.err
    assert (tmp_path / "out" / "sub" / "two-labels.geojson").exists()
    alone = ["--output", tmp_path / "none", *FAST]
    assert call("predict", heads / "segmentation", images / "broken.png", *alone) == 3
    assert call("embed", heads / "segmentation", images, "--output", tmp_path / "f.npz", "--mpp", "0.5", *FAST) == 1
    assert call("embed", heads / "segmentation", images / "broken.png", "--output", tmp_path / "g.npz", *FAST) == 3
    assert not (tmp_path / "g.npz").exists()


def test_nothing_is_overwritten_unasked(heads: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["predict", heads / "segmentation", images / "one.jpg", "--output", tmp_path / "out", "--mpp", "0.5", *FAST]
    assert call(*arguments) == 0
    before = (tmp_path / "out" / "one-labels.geojson").stat().st_mtime_ns
    capsys.readouterr()
    assert call(*arguments) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "out" / "one-labels.geojson").stat().st_mtime_ns == before
    assert call(*arguments, "--overwrite") == 0
    assert (tmp_path / "out" / "one-labels.geojson").stat().st_mtime_ns > before


@pytest.mark.parametrize(
    ("arguments", "message", "status"),
    [
        (["predict", "HEAD", "nowhere"], "nowhere", 3),
        (["predict", "no-head", "IMAGES"], "no model at 'no-head'", 2),
        (["predict", "HEAD", "IMAGES", "--mpp", "-1"], "--mpp -1", 2),
        (["predict", "HEAD", "IMAGES", "--cell-expansion", "5", "--mpp", "0.5"], "finds no nuclei", 2),
        (["predict", "HEAD", "IMAGES", "--step", "0"], "--step 0", 2),
        (["embed", "HEAD", "IMAGES", "--tissue", "2"], "--tissue 2", 2),
        (["embed", "HEAD", "IMAGES", "--tile", "50"], "multiple of the model's patch", 2),
    ],
)
def test_wrong_calls_are_one_line(
    arguments: list[str], message: str, status: int, heads: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"HEAD": str(heads / "segmentation"), "IMAGES": str(images / "one.jpg")}
    output = tmp_path / ("out" if arguments[0] == "predict" else "out.npz")
    assert call(*(places.get(one, one) for one in arguments), "--output", output, *FAST) == status
    lines = [line for line in capsys.readouterr().err.splitlines() if "scale of the" not in line]
    assert message in lines[0]
    assert len(lines) == 1


def test_embed_writes_features_with_places(heads: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [heads / "classification", images, "--mpp", "0.5", "--stride", "32", *FAST]
    for end in ("npz", "parquet"):
        assert call("embed", *arguments, "--output", tmp_path / f"features.{end}") == 0
    assert "98 tiles of 64 px" in capsys.readouterr().out
    npz = np.load(tmp_path / "features.npz")
    assert npz["features"].shape == (98, 48)
    assert [Path(name).name for name in npz["files"]] == ["one.jpg", "two.jpg"]
    assert set(npz["row"].tolist()) == set(range(0, 193, 32))
    table = pd.read_parquet(tmp_path / "features.parquet")
    np.testing.assert_array_equal(np.stack(table["features"]), npz["features"])
    assert call("embed", *arguments, "--output", tmp_path / "features.npz") == 2
