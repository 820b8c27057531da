"""Models are checked when they are read: numbers, pixel statistics, scale, sizes, classes; the shipped model never fills in."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_heads import tiny_head

from napari_sdmae.cli import main
from napari_sdmae.config.pretrain import ModelConfig
from napari_sdmae.io.checkpoints.head_folder import load_head, save_head
from napari_sdmae.io.checkpoints.load import convert_checkpoint, load_encoder, load_model, save_model
from napari_sdmae.io.model_info.head import read_head_spec
from napari_sdmae.io.model_info.info import check_numbers, default_model, find_model, model_info, resembles_model
from napari_sdmae.models import SDMAE
from napari_sdmae.worker.cache import ModelCache

NAN, INF = float("nan"), float("inf")
SIZES: dict[str, Any] = {"encoder_width": 24, "encoder_depth": 2, "encoder_heads": 2, "decoder_width": 24, "decoder_depth": 1}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one model of each kind: sdmae, timm, head and knn."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models")
    save_model(folder / "sdmae", SDMAE(ModelConfig(tile_size=32, head_hidden=8, **SIZES)), metadata={"mpp": 0.5})
    convert_checkpoint(folder / "sdmae", folder / "timm", to="timm")
    save_head(folder / "head", tiny_head("segmentation"))
    knn = tiny_head("classification", head={"classifier": "knn"})
    knn.head.fit(torch.randn(9, 48), torch.arange(9) % 3)
    save_head(folder / "knn", knn)
    return folder


LOADERS: dict[str, Callable[[Path], Any]] = {"sdmae": load_model, "timm": load_encoder, "head": load_head, "knn": load_head}


@pytest.fixture
def copied(models: Path, tmp_path: Path) -> Callable[[str], Path]:
    return lambda kind: Path(shutil.copytree(models / kind, tmp_path / kind))


def set_field(folder: Path, place: str, value: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    *outer, last = place.split("/")
    reduce(lambda part, name: part[name], outer, config)[last] = value
    (folder / "config.json").write_text(json.dumps(config))


FIELDS: list[tuple[str, str, Any, str]] = [
    *(("sdmae", "model/std", value, "std is") for value in ([0, 1, 1], [-0.2, 0.2, 0.2], [NAN, 1, 1], [58, 57, 57])),
    *(("sdmae", "model/std", value, "model.std") for value in ([0.2], "0.2", None)),
    *(("sdmae", "model/mean", value, "mean") for value in ([INF, 0, 0], [123.7, 116.3, 103.5], [0.5, 0.5], None)),
    *(("sdmae", "mpp", value, "mpp is") for value in (0, -0.5, NAN, INF, 250, "0.5", True)),
    *(("sdmae", "model/patch_size", value, "patch_size") for value in (0, -16, 10**9, "x")),
    ("sdmae", "model/patch_size", 7, "model: tile size 32 px is not a multiple of the patch size 7 px"),
    ("sdmae", "model/patch_size", 8, "patch_size is 8, but the weights beside it have 16"),
    *(("sdmae", "model/tile_size", value, "tile_size") for value in (0, 10**12)),
    ("sdmae", "encoder/depth", 10**9, "encoder.depth is 1000000000"),
    ("sdmae", "encoder/depth", 3, "depth is 3, but the weights beside it have 2"),
    ("sdmae", "target_normalisation", "best", "target_normalisation is best; expected patch_channel"),
    ("sdmae", "heads", "no", "heads is no; expected true or false"),
    *(("timm", "pretrained_cfg/std", value, "std is") for value in ([0.2, 0, 0.2], [NAN] * 3, 0.5)),
    ("timm", "pretrained_cfg/mean", [1e9, 0, 0], "mean is"),
    ("timm", "pretrained_cfg/input_size", [3, 0, 0], "input_size is 0"),
    ("timm", "napari-sdmae/mpp", -1, "mpp is -1"),
    ("timm", "model_args/depth", 10**9, "depth is 1000000000"),
    ("timm", "model_args/img_size", [0, 32], "img_size is"),
    ("timm", "model_args/mlp_ratio", NAN, "mlp_ratio is nan"),
    ("timm", "model_args", [1], "model_args is"),
    ("timm", "architecture", {"a": 1}, "architecture is a dict; expected a name of timm"),
    *(("head", "encoder/std", value, "std is") for value in ([0, 0, 0], [NAN, 1, 1])),
    *(("head", "mpp", value, "mpp is") for value in (0, -1, NAN, 1e9)),
    ("head", "tile_size", 0, "tile_size: .*greater than or equal to 1, got 0"),
    ("head", "tile_size", 40, "tile_size 40 is no multiple of the encoder's patch_size 16"),
    ("head", "encoder/patch_size", 0, "encoder.patch_size"),
    ("head", "encoder/arguments/num_heads", 0, "num_heads is 0"),
    ("head", "classes", [], "expected at least one"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "place", "value", "reason"), FIELDS)
def test_a_field_that_cannot_be_is_named(kind: str, place: str, value: Any, reason: str, copied: Callable[[str], Path]) -> None:
    folder = copied(kind)
    set_field(folder, place, value)
    with pytest.raises(ValueError, match=reason) as refused:
        read_head_spec(folder) if kind == "head" else model_info(folder)
    assert str(folder / "config.json") in str(refused.value)
    assert "\n" not in str(refused.value)


def test_classes_that_the_head_has_no_outputs_for(copied: Callable[[str], Path]) -> None:
    folder = copied("head")
    classes = json.loads((folder / "config.json").read_text())["classes"]
    set_field(folder, "classes", classes[:2])
    with pytest.raises(ValueError, match=r"classes: 2 are named, which takes 2 outputs, but head.classifier.bias has \[3\]"):
        read_head_spec(folder)
    set_field(folder, "classes", [classes[0], classes[0], classes[2]])
    with pytest.raises(ValueError, match=r"classes have the values \[0, 0, 2\]; expected at least one, and each value once"):
        read_head_spec(folder)
    folder = copied("knn")
    set_field(folder, "classes", json.loads((folder / "config.json").read_text())["classes"][:2])
    with pytest.raises(ValueError, match=r"head.labels go from 0 to 2, expected 0 to 1"):
        load_head(folder)


def change(folder: Path, name: str, make: Callable[[torch.Tensor], torch.Tensor]) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors[name] = make(tensors[name]).contiguous()
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("wrong", [NAN, INF, -INF])
@pytest.mark.parametrize(("kind", "name"), [
    ("sdmae", "decoder.head.weight"), ("timm", "blocks.0.mlp.fc1.bias"), ("head", "encoder.norm.bias"), ("knn", "head.features"),
])  # fmt: skip
def test_weights_that_are_not_finite_are_named(
    kind: str, name: str, wrong: float, dtype: torch.dtype, copied: Callable[[str], Path]
) -> None:
    folder = copied(kind)
    change(
        folder,
        name,
        lambda tensor: tensor.flatten().index_fill(0, torch.tensor(tensor.numel() - 1), wrong).view_as(tensor).to(dtype),
    )
    for read in (LOADERS[kind], lambda folder: check_numbers(model_info(folder))):
        with pytest.raises(ValueError, match=rf"model.safetensors: {re.escape(name)} holds numbers that are NaN or infinite"):
            read(folder)


@pytest.mark.parametrize(("kind", "name"), [("sdmae", "mask_token"), ("head", "encoder.norm.bias")])
def test_whole_numbers_are_no_weights(kind: str, name: str, copied: Callable[[str], Path]) -> None:
    folder = copied(kind)
    change(folder, name, lambda tensor: tensor.int())
    with pytest.raises(ValueError, match=rf"{re.escape(name)} is .* of whole numbers, expected"):
        LOADERS[kind](folder)


@pytest.mark.parametrize(
    "content", [b"[" * 200_000, b'{"architecture": ' * 90_000 + b"1" + b"}" * 90_000, b"\xff\xfe\x00", b"[1", b"7"]
)
def test_a_hostile_config_is_refused(content: bytes, copied: Callable[[str], Path]) -> None:
    folder = copied("sdmae")
    (folder / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"config.json (is not JSON that can be read|describes neither)") as refused:
        model_info(folder)
    assert len(str(refused.value)) < 400


def test_a_config_with_a_byte_order_mark_is_read(copied: Callable[[str], Path]) -> None:
    folder = copied("sdmae")
    (folder / "config.json").write_text((folder / "config.json").read_text(), encoding="utf-8-sig")
    assert model_info(folder).mpp == 0.5


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_changed_file_is_read_again_whatever_its_date(name: str, copied: Callable[[str], Path]) -> None:
    """As where a folder is restored from a copy with the dates of before."""
    folder, memory = copied("timm"), ModelCache()
    before = memory.encoder(model_info(folder), "cpu")
    assert memory.encoder(model_info(folder), "cpu") is before
    dates = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    if name == "config.json":
        set_field(folder, "pretrained_cfg/mean", [0.1, 0.2, 0.3])
    else:
        change(folder, "norm.bias", lambda tensor: tensor + 1)
    for path, date in dates.items():
        os.utime(path, ns=(date, date))
    after = memory.encoder(model_info(folder), "cpu")
    if name == "config.json":
        assert after.mean == (0.1, 0.2, 0.3)
    else:
        torch.testing.assert_close(after.vit.norm.bias, before.vit.norm.bias + 1)


def lacking(kind: str, folder: Path, models: Path) -> Path:
    """Return a place that was meant as a model and is none."""
    folder.mkdir()
    if kind == "config alone":
        shutil.copy(models / "sdmae" / "config.json", folder)
    elif kind == "weights alone":
        shutil.copy(models / "sdmae" / "model.safetensors", folder)
    elif kind == "shards":
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors.index.json").write_text("{}")
    elif kind == "run without a model":
        (folder / "status.json").write_text("{}")
    elif kind == "checkpoint file":
        torch.save({}, folder / "weights.pth")
        return folder / "weights.pth"
    elif kind == "typo":
        return folder / "moodel"
    elif kind == "name of the shipped model":
        (folder / str(default_model())).mkdir()
        shutil.copy(models / "sdmae" / "config.json", folder / str(default_model()))
        return Path(str(default_model()))
    return folder


LACKING = {
    "config alone": "has config.json but no model.safetensors",
    "weights alone": "has model.safetensors but no config.json",
    "shards": r"holds weights in several parts \(model.safetensors.index.json\)",
    "run without a model": "has not saved a model yet",
    "checkpoint file": "convert the checkpoint first: sdmae convert .*weights.pth FOLDER",
    "typo": "no model at",
    "name of the shipped model": "has config.json but no model.safetensors",
    "empty": "is no model; expected a run folder|no images in",
}


@pytest.mark.parametrize("command", ["reconstruct", "attention", "embed"])
@pytest.mark.parametrize("kind", LACKING)
def test_the_shipped_model_never_answers_for_another(
    kind: str,
    command: str,
    models: Path,
    tissue: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    image = sorted(tissue.glob("tiles/*/*.jpg"))[0]
    place = lacking(kind, tmp_path / "given", models)
    monkeypatch.chdir(tmp_path / "given")
    assert main([command, str(place), str(image), "--output", str(tmp_path / "out.npz")]) in (2, 3)
    said = capsys.readouterr()
    assert said.out == ""
    assert re.search(LACKING[kind], said.err), said.err
    assert not (tmp_path / "out.npz").is_file()


@pytest.mark.parametrize("command", ["reconstruct", "attention", "embed"])
def test_a_model_where_an_image_belongs_is_refused(
    command: str, models: Path, tissue: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = sorted(tissue.glob("tiles/*/*.jpg"))[0]
    for words in ([str(models / "sdmae")], [str(image), str(models / "sdmae")]):
        assert main([command, *words, "--output", str(tmp_path / "out.npz")]) == 2
        said = capsys.readouterr().err
        assert re.search("is a model|no model at|is no model", said), said
        assert "note: model" not in said


def test_an_empty_name_is_no_model(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(models / "sdmae")
    assert find_model(".") == Path()
    with pytest.raises(FileNotFoundError, match="no model at ''"):
        find_model("")


def test_a_folder_of_images_with_a_config_of_its_own_is_no_model(tmp_path: Path, tissue: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert resembles_model(tmp_path)
    shutil.copy(sorted(tissue.glob("tiles/*/*.jpg"))[0], tmp_path)
    assert not resembles_model(tmp_path)
