"""``sdmae reconstruct``, ``sdmae attention`` and ``sdmae doctor``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from napari_sdmae.cli import main
from napari_sdmae.config.pretrain import ModelConfig
from napari_sdmae.inference import attention_maps, encode_field, reconstruct
from napari_sdmae.io.checkpoints.load import load_encoder, load_model, save_model
from napari_sdmae.io.images.read import read_image, read_mpp
from napari_sdmae.models import SDMAE


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    config = ModelConfig(
        encoder_width=48,
        encoder_depth=3,
        encoder_heads=3,
        tile_size=64,
        decoder_width=24,
        decoder_depth=1,
        decoder_heads=2,
        head_hidden=16,
        head_bottleneck=8,
        head_outputs=16,
    )
    folder = tmp_path_factory.mktemp("models") / "small"
    save_model(folder, SDMAE(config), metadata={"target_normalisation": "patch", "mpp": 0.5})
    return folder


@pytest.fixture(scope="module")
def image(tissue: Path) -> Path:
    return sorted(tissue.glob("tiles/*/*.jpg"))[0]


def png(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_reconstruct_writes_what_the_package_computes(
    model: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = [
        "reconstruct",
        str(model),
        str(image),
        "--output",
        str(tmp_path / "new"),
        "--mask-ratio",
        "0.75",
        "--seed",
        "3",
        "--region",
        "10",
        "20",
        "100",
        "90",
        "--mpp",
        "0.5",
    ]
    assert main(call) == 0
    written = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(written) == sorted((tmp_path / "new").iterdir())
    names = {path.name.removeprefix(f"{image.stem}-"): path for path in written}
    field = read_image(image)[10:110, 20:110]
    expected = reconstruct(model, field, mask_ratio=0.75, seed=3)
    np.testing.assert_array_equal(png(names["input.png"]), field)
    np.testing.assert_array_equal(png(names["masked.png"]), expected.masked)
    np.testing.assert_array_equal(png(names["reconstruction.png"]), expected.reconstruction)
    assert png(names["error.png"]).shape == field.shape
    np.testing.assert_array_equal(tifffile.imread(names["error.tif"]), expected.error)
    assert read_mpp(names["error.tif"]) == pytest.approx(0.5)
    told = json.loads(names["reconstruction.json"].read_text())
    assert told["mean_error"] == pytest.approx(expected.mean_error)
    assert (told["region"], told["seed"], told["target_normalisation"]) == ([10, 20, 100, 90], 3, "patch")


def test_attention_writes_picture_map_and_numbers(model: Path, image: Path, tmp_path: Path) -> None:
    call = [
        "attention",
        str(model),
        str(image),
        "--output",
        str(tmp_path),
        "--method",
        "query",
        "--block",
        "-2",
        "--head",
        "1",
        "--query",
        "40",
        "50",
        "--region",
        "0",
        "0",
        "100",
        "90",
        "--mpp",
        "0.25",
    ]
    assert main(call) == 0
    stem = tmp_path / f"{image.stem}-query-b1-h1-r40c50"
    field = read_image(image)[:100, :90]
    expected = attention_maps(encode_field(load_encoder(model), field), method="query", block=1, head=1, query=(40, 50))
    np.testing.assert_array_equal(tifffile.imread(stem.with_suffix(".tif")), expected.values)
    assert read_mpp(stem.with_suffix(".tif")) == pytest.approx(0.25 * 16)
    assert png(stem.with_suffix(".png")).shape == field.shape
    told = json.loads(stem.with_suffix(".json").read_text())
    assert told["statistics"]["entropy"] == pytest.approx(expected.entropy[0])
    assert (told["block"], told["head"], told["query_patch"], told["grid"]) == (1, 1, [2, 3], [7, 6])
    assert "not explanation" in told["note"]


@pytest.mark.parametrize(
    ("options", "name", "shape"),
    [
        ([], "received-b2", (7, 6)),
        (["--head", "grid", "--interpolation", "bilinear"], "received-b2-heads", (3, 7, 6)),
        (["--method", "rollout", "--block", "1"], "rollout-b1", (7, 6)),
        (["--method", "pca"], "pca-b2", (7, 6, 3)),
        (["--method", "similarity", "--query", "99", "0"], "similarity-b2-r99c0", (7, 6)),
    ],
)
def test_every_method(model: Path, image: Path, tmp_path: Path, options: list[str], name: str, shape: tuple[int, ...]) -> None:
    call = ["attention", str(model), str(image), "--output", str(tmp_path), "--region", "0", "0", "100", "90", *options]
    assert main(call) == 0
    assert tifffile.imread(tmp_path / f"{image.stem}-{name}.tif").shape == shape
    heads = shape[0] if "-heads" in name else 1
    sheet = (2 * 100 + 4, 2 * 90 + 4, 3) if heads == 3 else (100, 90, 3)
    assert png(tmp_path / f"{image.stem}-{name}.png").shape == sheet


def test_the_overlay_shows_the_map_where_it_belongs(model: Path, image: Path, tmp_path: Path) -> None:
    """The most attended patch is the brightest of an overlay on glass."""
    glass = tmp_path / "glass.png"
    pixels = np.full((64, 64, 3), 240, np.uint8)
    pixels[32:48, 16:32] = read_image(image)[:16, :16]
    Image.fromarray(pixels).save(glass)
    assert main(["attention", str(model), str(glass), "--output", str(tmp_path)]) == 0
    values = tifffile.imread(tmp_path / "glass-received-b2.tif")
    shown = png(tmp_path / "glass-received-b2.png").astype(float) - 0.4 * pixels.mean(-1, keepdims=True)
    patches = shown.sum(-1).reshape(4, 16, 4, 16).mean((1, 3))
    assert patches.argmax() == values.argmax()
    assert patches.argmin() == values.argmin()


def test_nothing_is_overwritten_unasked(model: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["reconstruct", str(model), str(image), "--output", str(tmp_path), "--region", "0", "0", "64", "64"]
    assert main(call) == 0
    before = (tmp_path / f"{image.stem}-masked.png").read_bytes()
    assert main([*call, "--seed", "1"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / f"{image.stem}-masked.png").read_bytes() == before
    assert main([*call, "--seed", "1", "--overwrite"]) == 0
    assert (tmp_path / f"{image.stem}-masked.png").read_bytes() != before


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--block", "3"], 2, "blocks 0 to 2"),
        (["--head", "7"], 2, "choose mean, grid, or 0 to 2"),
        (["--method", "class_token"], 2, "no class token"),
        (["--region", "0", "0", "9999", "10"], 3, "not inside the image"),
        (["--region", "0", "0", "10", "10"], 3, "less than one patch"),
    ],
)
def test_errors_say_what_to_do(
    model: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], status: int, message: str
) -> None:
    assert main(["attention", str(model), str(image), "--output", str(tmp_path / "out"), *options]) == status
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list((tmp_path / "out").glob("*"))


def test_unusable_images_and_missing_models(model: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    output = ["--output", str(tmp_path / "out")]
    assert main(["reconstruct", str(model), str(broken), *output]) == 3
    assert main(["reconstruct", str(model), str(image), *output, "--seed", "-1"]) == 2
    assert main(["reconstruct", "nowhere", str(image), *output]) == 2
    assert "no model at 'nowhere'" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main(["attention", str(model), str(image), *output, "--head", "all"])
    assert caught.value.code == 2


def test_doctor_knows_this_machine(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    assert main(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert torch.__version__.startswith(told["packages"]["torch"])
    assert torch.__version__ in told["torch"]["build"]
    assert told["torch"]["precision"].startswith(("fp32", "bf16"))
    assert told["cache"]["free"].endswith("GB")


def refused(call: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line that `call` prints before it ends with a status that is no success."""
    assert main(call) in (1, 2, 3)
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


@pytest.mark.parametrize("content", [b"", b"no tensors, but text", None], ids=["empty", "text", "cut"])
@pytest.mark.parametrize("command", ["attention", "reconstruct", "convert"])
def test_damaged_weights(
    model: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, content: bytes | None
) -> None:
    weights = (model / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights[: len(weights) // 2] if content is None else content)
    shutil.copy(model / "config.json", tmp_path)
    target = [str(tmp_path / "out")] if command == "convert" else [str(image), "--output", str(tmp_path / "out")]
    assert str(tmp_path / "model.safetensors") in refused([command, str(tmp_path), *target], capsys)
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"format": "napari-sdmae", "version": 1}, "encoder and model missing"),
        ({"format": "napari-sdmae", "version": 1, "model": {}, "encoder": {}}, "encoder.width missing"),
        ({"architecture": "vit_small_patch16_224"}, "no plain vision transformer"),
    ],
)
def test_configs_that_do_not_describe_the_weights(
    model: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], config: dict[str, object], word: str
) -> None:
    shutil.copy(model / "model.safetensors", tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert word in refused(["attention", str(tmp_path), str(image), "--output", str(tmp_path / "out")], capsys)


@pytest.mark.parametrize(
    ("option", "reason"),
    [("--head", "expected mean, grid or a number from 0"), ("--downsample", "expected auto or an integer from 1")],
)
def test_a_word_in_the_place_of_a_number_is_told_what_is_expected(
    option: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["attention", "image.png", "--output", "out", option, "x"])
    assert ended.value.code == 2
    assert f"argument {option}: 'x': {reason}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (["reconstruct", "--mpp", "-1"], "expected 0.05 to 20"),
        (["attention", "--mpp", "0"], "expected 0.05 to 20"),
        (["attention", "--mpp", "nan"], "expected 0.05 to 20"),
        (["reconstruct", "--seed", str(2**64)], "2**63 - 1"),
        (["reconstruct", "--seed", "-1"], "2**63 - 1"),
        (["reconstruct", "--mask-ratio", "nan"], "between 0 and 1"),
        (["reconstruct", "--mask-ratio", "1.5"], "between 0 and 1"),
        (["attention", "--query", "1", "1"], "choose query, rollout, similarity"),
        (["attention", "--query", "1", "1", "--method", "pca"], "no effect on method pca"),
        (["attention", "--downsample", "0"], "at least 1"),
    ],
)
def test_values_without_sense_are_refused_before_anything_is_written(
    model: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], call: list[str], word: str
) -> None:
    command, *options = call
    assert word in refused([command, str(model), str(image), "--output", str(tmp_path / "out"), *options], capsys)
    assert not list((tmp_path / "out").glob("*"))


def test_an_output_that_is_a_file(model: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    for output in (tmp_path / "file", tmp_path / "file" / "below"):
        assert "give a folder" in refused(["reconstruct", str(model), str(image), "--output", str(output)], capsys)


def test_images_that_cannot_be_used_are_named(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    for command in ("attention", "reconstruct"):
        call = [command, str(model), str(tmp_path / "broken.png"), "--output", str(tmp_path / "out")]
        assert str(tmp_path / "broken.png") in refused(call, capsys)


def test_reconstruct_limits_the_size(
    model: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_sdmae.io.images.field.MAX_PIXELS", 100 * 100)
    call = ["reconstruct", str(model), str(image), "--output", str(tmp_path)]
    assert "--region" in refused(call, capsys)
    assert main([*call, "--region", "0", "0", "100", "100"]) == 0


@pytest.mark.parametrize(("how", "words"), [("none", "raw pixels"), ("patch", "taken from the original")])
def test_the_note_says_what_is_shown(image: Path, model: Path, tmp_path: Path, how: str, words: str) -> None:
    save_model(tmp_path / "model", load_model(model), metadata={"target_normalisation": how})
    call = ["reconstruct", str(tmp_path / "model"), str(image), "--output", str(tmp_path), "--region", "0", "0", "64", "64"]
    assert main(call) == 0
    assert words in json.loads((tmp_path / f"{image.stem}-reconstruction.json").read_text())["note"]


def test_a_large_picture_is_seen_in_parts(model: Path, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the largest field the map is that of the whole; the overlay lies on what the model saw."""
    call = ["attention", str(model), str(image), "--downsample", "2", "--region", "0", "0", "250", "200"]
    assert main([*call, "--output", str(tmp_path / "whole")]) == 0
    from napari_sdmae.io.images import field

    monkeypatch.setattr(field, "MAX_PIXELS", 10_000)
    assert main([*call, "--output", str(tmp_path / "parts")]) == 0
    name = f"{image.stem}-received-b2"
    whole, parts = (tmp_path / kind / name for kind in ("whole", "parts"))
    np.testing.assert_array_equal(tifffile.imread(parts.with_suffix(".tif")), tifffile.imread(whole.with_suffix(".tif")))
    assert png(parts.with_suffix(".png")).shape == (125, 100, 3)
    assert json.loads(parts.with_suffix(".json").read_text()) == json.loads(whole.with_suffix(".json").read_text())
    assert main(["reconstruct", *call[1:3], "--output", str(tmp_path / "r")]) == 3


def test_scene_and_plane(model: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tile = read_image(image)[:64, :64]
    tifffile.imwrite(tmp_path / "z.tif", np.stack([tile, tile[::-1]]), imagej=True, metadata={"axes": "ZYXS"})
    call = ["reconstruct", str(model), str(tmp_path / "z.tif"), "--output"]
    assert main([*call, str(tmp_path / "1")]) == 0
    assert "note: plane 1 of 2 (in depth) is used" in capsys.readouterr().err
    assert main([*call, str(tmp_path / "2"), "--plane", "2"]) == 0
    np.testing.assert_array_equal(png(tmp_path / "2" / "z-input.png"), tile[::-1])
    assert main([*call, str(tmp_path / "3"), "--plane", "3"]) == 3
    assert main([*call, str(tmp_path / "3"), "--plane", "0"]) == 2
