"""Model folders: written safely, read back exactly, and readable by timm."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from napari_sdmae.config.pretrain import ModelConfig
from napari_sdmae.io.atomic import write_atomically
from napari_sdmae.io.checkpoints.load import convert_checkpoint, load_encoder, load_model, model_info, save_model
from napari_sdmae.models import SDMAE

SETTINGS: dict[str, Any] = {
    "encoder": "vit_tiny_patch16_224", "tile_size": 64, "encoder_depth": 2, "decoder_width": 48, "decoder_depth": 1,
    "head": "projection", "head_hidden": 32, "head_bottleneck": 16, "head_outputs": 24,
    "mean": (0.7, 0.5, 0.6), "std": (0.2, 0.2, 0.25),
}  # fmt: skip
METADATA = {"target_normalisation": "patch_channel", "mpp": 0.5, "provenance": {"run": "a run on tissue, 0.5 µm/px"}}


def model(**changes: Any) -> SDMAE:
    torch.manual_seed(0)
    built = SDMAE(ModelConfig.model_validate(SETTINGS | changes)).eval()
    with torch.no_grad():
        for weight in built.parameters():
            if weight.requires_grad:
                weight += 0.05 * torch.randn_like(weight)
    return built


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "kidney"
    save_model(path, model(), metadata=METADATA)
    return path


@pytest.mark.parametrize("position", ["sincos1d", "sincos2d", "encoder"])
def test_a_loaded_model_computes_the_same(position: str, tmp_path: Path) -> None:
    saved = model(position=position, class_token=True)
    save_model(tmp_path, saved)
    loaded = load_model(tmp_path)
    assert not loaded.training
    assert loaded.config == saved.config
    images, mask = torch.randn(2, 3, 64, 96), torch.rand(2, 24).argsort(1) < 14
    for ours, theirs in zip(loaded(images, mask), saved(images, mask), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)  # fused and explicit attention round differently
    assert torch.equal(loaded.mean, saved.mean)
    assert [w.requires_grad for w in loaded.parameters()] == [w.requires_grad for w in saved.parameters()]


def test_a_loaded_model_goes_on_training_with_its_key_bias_at_zero(folder: Path) -> None:
    loaded = load_model(folder)
    before = loaded.encoder.blocks[0].attn.qkv.bias.detach().clone()
    optimizer = torch.optim.AdamW(loaded.parameters(), lr=1e-2, weight_decay=0)
    loaded(torch.randn(1, 3, 64, 64), torch.rand(1, 16).argsort(1) < 10).reconstruction.square().mean().backward()
    optimizer.step()
    moved = (loaded.encoder.blocks[0].attn.qkv.bias - before).abs().view(3, -1).amax(1)
    assert moved[0] > 0
    assert moved[1] == 0
    assert moved[2] > 0


def test_position_codes_are_in_the_file_and_used(folder: Path, tmp_path: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    assert tensors["encoder.pos_embed"].shape == (1, 16, 192)
    assert tensors["decoder.pos_embed"].shape == (1, 16, 48)
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    save_file(tensors | {"encoder.pos_embed": tensors["encoder.pos_embed"] + 1}, tmp_path / "model.safetensors")
    torch.testing.assert_close(load_model(tmp_path).encoder.pos_embed, load_model(folder).encoder.pos_embed + 1)


def test_the_same_model_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    save_model(tmp_path, load_model(folder), metadata=METADATA)
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_information_without_torch(folder: Path) -> None:
    code = (
        "import sys; from napari_sdmae.io.model_info.info import model_info\n"
        f"i = model_info({str(folder)!r})\n"
        "assert not {'torch', 'timm', 'safetensors'} & set(sys.modules)\n"
        "print(i.name, i.encoder, i.tile_size, i.patch_size, i.depth, i.heads, i.mpp, i.target_normalisation, i.has_decoder)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["kidney", "vit_tiny_patch16_224", "64", "16", "2", "3", "0.5", "patch_channel", "True"]


def test_a_run_folder_is_a_model(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run-7"
    save_model(run / "model", load_model(folder))
    assert model_info(run).name == model_info(run / "model").name == "run-7"
    assert load_model(run).config == load_model(folder).config


@pytest.mark.parametrize("position", ["sincos2d", "encoder"])
@pytest.mark.parametrize("class_token", [False, True])
def test_timm_reads_the_exported_encoder(position: str, class_token: bool, tmp_path: Path) -> None:
    saved = model(position=position, class_token=class_token)
    save_model(tmp_path / "sdmae", saved, metadata=METADATA)
    convert_checkpoint(tmp_path / "sdmae", tmp_path / "timm", to="timm")
    theirs = timm.create_model(f"local-dir:{tmp_path / 'timm'}", pretrained=True).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(theirs.forward_features(images), saved.encoder.forward_features(images), rtol=0, atol=1e-6)
        torch.testing.assert_close(theirs(images), saved.encoder(images), rtol=0, atol=1e-6)
    assert tuple(theirs.pretrained_cfg["mean"]) == (0.7, 0.5, 0.6)


def test_both_layouts_give_the_same_encoder_at_any_size(folder: Path, tmp_path: Path) -> None:
    convert_checkpoint(folder, tmp_path / "timm", to="timm")
    ours, exported = load_encoder(folder), load_encoder(tmp_path / "timm")
    for encoder in (ours, exported):
        assert (encoder.patch_size, encoder.tile_size, encoder.mpp) == (16, 64, 0.5)
        assert encoder.mean == (0.7, 0.5, 0.6)
        assert encoder.std == (0.2, 0.2, 0.25)
        assert not encoder.vit.training
    pixels = torch.randint(0, 256, (1, 48, 112, 3), dtype=torch.uint8)
    with torch.no_grad():
        features = [encoder.vit.forward_features(encoder.normalise(pixels)) for encoder in (ours, exported)]
    assert features[0].shape == (1, 21, 192)
    assert torch.equal(*features)
    info = model_info(tmp_path / "timm")
    assert (info.depth, info.heads, info.tile_size, info.has_decoder) == (2, 3, 64, False)


def test_an_encoder_of_timms_own_saving_is_read(tmp_path: Path) -> None:
    """A folder as timm writes it (and every timm-layout pathology encoder comes): classifier, class token, registers."""
    theirs = timm.create_model("vit_small_patch14_reg4_dinov2", img_size=112, depth=2, num_classes=3).eval()
    timm.models.save_for_hf(theirs, tmp_path, safe_serialization=True)
    encoder = load_encoder(tmp_path)
    images = torch.randn(1, 3, 112, 112)
    with torch.no_grad():
        torch.testing.assert_close(encoder.vit.forward_features(images), theirs.forward_features(images), atol=1e-5, rtol=1e-5)
    info = model_info(tmp_path)
    assert (info.depth, info.heads, info.patch_size, info.tile_size) == (2, 6, 14, 112)


def test_an_encoder_cannot_reconstruct_and_says_so(folder: Path, tmp_path: Path) -> None:
    convert_checkpoint(folder, tmp_path / "timm", to="timm")
    with pytest.raises(ValueError, match="encoder only"):
        load_model(tmp_path / "timm")


def test_what_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected a run folder"):
        load_model(tmp_path / "nothing")
    (tmp_path / "status.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="has not saved a model yet"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "neither an SD-MAE model nor a timm encoder"),
        ('{"format": "napari-sdmae", "version": 2}', "format version 2, this program reads 1"),
    ],
)
def test_a_config_that_is_not_ours_is_refused(config: str, message: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(ValueError, match=message):
        load_model(tmp_path)


def test_weights_of_another_config_are_refused_by_name(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["model"] |= {"encoder_depth": 3, "head_outputs": 25}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    listed = r"encoder\.blocks\.2\.norm1\.weight is missing.*last\.weight is \(24, 16\), expected \(25, 16\)"
    with pytest.raises(ValueError, match=listed):
        load_model(tmp_path)


def test_unknown_metadata_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown model metadata \\['scale'\\]"):
        save_model(tmp_path, model(), metadata={"scale": 0.5})


def test_a_full_disk_leaves_the_old_model(folder: Path, tmp_path: Path) -> None:
    """The limit on file size stands in for a full disk: the write fails in the middle."""
    changed = load_model(folder)
    save_model(tmp_path, changed, metadata=METADATA)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with torch.no_grad():
        changed.mask_token += 1
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            save_model(tmp_path, changed, metadata=METADATA)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_atomic_writing_replaces_and_cleans_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"

    def fail(*_: object) -> None:
        raise OSError("disk")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk"):
        write_atomically(path, b"newer")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]
