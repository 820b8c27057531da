"""Checkpoints of other programs: what they compute is kept, and what is dangerous or does not fit is refused."""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import PatchEmbed
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from napari_sdmae.io.checkpoints.load import convert_checkpoint, load_encoder, load_model, model_info

REFERENCE = Path(__file__).parents[2] / "data" / "reference"
AUTHORS = REFERENCE / "tiny_p8_32.pth"


class PlainMAE(nn.Module):
    """A masked autoencoder with the tensor names and the order of computation of facebookresearch/mae."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(64, 16, 3, 192)
        self.cls_token, self.mask_token = nn.Parameter(torch.randn(1, 1, 192)), nn.Parameter(torch.randn(1, 1, 64))
        self.pos_embed, self.decoder_pos_embed = nn.Parameter(torch.randn(1, 17, 192)), nn.Parameter(torch.randn(1, 17, 64))
        norm = partial(nn.LayerNorm, eps=1e-6)
        self.blocks = nn.ModuleList(Block(192, 3, qkv_bias=True, norm_layer=norm) for _ in range(2))
        self.decoder_embed = nn.Linear(192, 64)
        self.decoder_blocks = nn.ModuleList(Block(64, 16, qkv_bias=True, norm_layer=norm) for _ in range(2))
        self.norm, self.decoder_norm, self.decoder_pred = norm(192), norm(64), nn.Linear(64, 768)
        for weight in self.parameters():
            nn.init.normal_(weight, std=0.1) if weight.ndim > 1 else nn.init.uniform_(weight, -0.5, 1)

    def forward(self, images: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the encoder's tokens of the visible patches and the prediction for all patches."""
        batch = len(images)
        tokens = self.patch_embed(images) + self.pos_embed[:, 1:]
        x = torch.cat([(self.cls_token + self.pos_embed[:, :1]).expand(batch, -1, -1), tokens[~mask].view(batch, -1, 192)], 1)
        for block in self.blocks:
            x = block(x)
        latent = self.norm(x)
        y = self.decoder_embed(latent)
        full = self.mask_token.expand(batch, 16, -1).clone()
        full[~mask] = y[:, 1:].reshape(-1, 64)
        y = torch.cat([y[:, :1], full], 1) + self.decoder_pos_embed
        for block in self.decoder_blocks:
            y = block(y)
        return latent, self.decoder_pred(self.decoder_norm(y))[:, 1:]


@pytest.fixture(scope="module")
def mae() -> PlainMAE:
    torch.manual_seed(0)
    return PlainMAE().eval()


@pytest.fixture(scope="module")
def mae_model(mae: PlainMAE, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder to which a MAE with decoder was converted; its source lies beside it."""
    folder = tmp_path_factory.mktemp("mae")
    args = argparse.Namespace(model="mae_vit_tiny_patch16", norm_pix_loss=False, input_size=64)
    torch.save({"model": mae.state_dict(), "args": args}, folder / "mae.pth")
    return convert_checkpoint(folder / "mae.pth", folder / "model")


def test_authors_checkpoint_gives_the_published_prediction(tmp_path: Path) -> None:
    model = load_model(convert_checkpoint(AUTHORS, tmp_path / "model"))
    with np.load(AUTHORS.with_suffix(".npz")) as facts:
        output = model(model.normalise(torch.from_numpy(facts["imgs"])), torch.from_numpy(facts["masks"][0]))
        np.testing.assert_allclose(output.reconstruction.detach(), facts["pred"], atol=1e-5, rtol=1e-5)
    info = model_info(tmp_path / "model")
    assert (info.tile_size, info.patch_size, info.depth, info.heads, info.target_normalisation) == (32, 8, 3, 3, "patch_channel")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["provenance"] == {"converted_from": "tiny_p8_32.pth", "kind": "sdmae"}


def test_authors_encoder_to_timm(tmp_path: Path) -> None:
    model = load_model(convert_checkpoint(AUTHORS, tmp_path / "model"))
    convert_checkpoint(AUTHORS, tmp_path / "timm", to="timm")
    theirs = timm.create_model(f"local-dir:{tmp_path / 'timm'}", pretrained=True).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(theirs(images), model.encoder(images), rtol=0, atol=1e-6)


def test_authors_heads_and_size_from_the_user_where_the_file_is_silent(tmp_path: Path) -> None:
    content = read(AUTHORS)
    del content["args"]
    torch.save(content, tmp_path / "silent.pth")
    hints = {"tile_size": 48, "encoder_heads": 6, "decoder_heads": 3}
    config = load_model(convert_checkpoint(tmp_path / "silent.pth", tmp_path / "model", **hints)).config
    assert (config.tile_size, config.encoder_heads, config.decoder_heads) == (48, 6, 3)
    usual = load_model(convert_checkpoint(tmp_path / "silent.pth", tmp_path / "usual")).config
    assert (usual.tile_size, usual.encoder_heads) == (224, 1)


def test_mae_with_decoder_predicts_as_before(mae: PlainMAE, mae_model: Path) -> None:
    """Also the bias of its bridge, which SD-MAE has not, is kept: it went into the position code and the mask token."""
    model = load_model(mae_model)
    images, mask = torch.randn(2, 3, 64, 64), torch.rand(2, 16).argsort(1) < 10
    with torch.no_grad():
        theirs = mae(images, mask)[1][mask].view(2, 10, 768)
        torch.testing.assert_close(model(images, mask).reconstruction, theirs, rtol=1e-4, atol=1e-4)
    info = model_info(mae_model)
    assert (info.target_normalisation, info.has_decoder) == ("none", True)
    assert json.loads((info.folder / "config.json").read_text())["provenance"]["untrained"] == ["student_head", "teacher_head"]


def test_converting_twice_gives_the_same_bytes(mae_model: Path, tmp_path: Path) -> None:
    """Also of the heads, which MAE lacks and which start at random."""
    again = convert_checkpoint(mae_model.parent / "mae.pth", tmp_path)
    for name in ("model.safetensors", "config.json"):
        assert (again / name).read_bytes() == (mae_model / name).read_bytes()


@pytest.mark.parametrize("to", ["sdmae", "timm"])
def test_mae_without_decoder_becomes_an_encoder(to: Any, mae: PlainMAE, tmp_path: Path) -> None:
    kept = {name: value for name, value in mae.state_dict().items() if not name.startswith("decoder") and name != "mask_token"}
    torch.save({"model": kept}, tmp_path / "encoder.pth")
    encoder = load_encoder(convert_checkpoint(tmp_path / "encoder.pth", tmp_path / "model", to=to))
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        latent = mae(images, torch.zeros(2, 16, dtype=torch.bool))[0]
        torch.testing.assert_close(encoder.vit.forward_features(images), latent, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vit_small_patch14_reg4_dinov2", {"img_size": 112, "depth": 2}),
        ("vit_tiny_patch16_224", {"img_size": 64, "depth": 1}),
        ("deit3_small_patch16_224", {"img_size": 64, "depth": 1}),
        ("vit_base_patch16_clip_224", {"img_size": 64, "depth": 1}),
        ("vit_small_patch16_224", {"img_size": 96, "depth": 1, "global_pool": "avg", "class_token": False}),
    ],
)
@pytest.mark.parametrize("layout", ["pth", "safetensors", "folder"])
def test_timm_there_and_back(name: str, options: dict[str, Any], layout: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = timm.create_model(name, num_classes=4, **options).eval()
    if layout == "folder":
        source = tmp_path / "source"
        timm.models.save_for_hf(theirs, source, safe_serialization=True)
    elif layout == "safetensors":
        source = tmp_path / "vit.safetensors"
        save_file(theirs.state_dict(), source)
    else:
        source = tmp_path / "vit.pth"
        torch.save({"state_dict": {f"module.backbone.{key}": value for key, value in theirs.state_dict().items()}}, source)
    if "clip" in name and layout != "folder":
        with pytest.raises(ValueError, match="activation the tensors do not tell"):
            convert_checkpoint(source, tmp_path / "model", to="timm")
        return
    convert_checkpoint(source, tmp_path / "model", to="timm")
    again = timm.create_model(f"local-dir:{tmp_path / 'model'}", pretrained=True, num_classes=0).eval()
    images = torch.randn(1, 3, *theirs.patch_embed.img_size)
    with torch.no_grad():
        torch.testing.assert_close(again.forward_features(images), theirs.forward_features(images), rtol=1e-5, atol=1e-5)
        assert load_encoder(tmp_path / "model").vit.forward_features(images).shape == theirs.forward_features(images).shape


class Payload:
    """What a hostile checkpoint does: its loading calls a function of its choice."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("place", ["model", "args", "optimizer"])
def test_a_pickle_that_wants_to_run_code_is_refused_and_does_not_run(place: str, tmp_path: Path) -> None:
    flag = tmp_path / "it ran"
    torch.save(read(AUTHORS) | {place: Payload(flag)}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match=r"evil.pth was refused: .*Nothing in it was run"):
        convert_checkpoint(tmp_path / "evil.pth", tmp_path / "model")
    assert not flag.exists()
    assert not (tmp_path / "model").exists()
    torch.load(tmp_path / "evil.pth", weights_only=False)  # the payload is real: without the guard it runs
    assert flag.exists()


def test_an_encoder_that_does_not_fit_is_refused_with_the_list(tmp_path: Path) -> None:
    content = read(AUTHORS)
    for name in ("norm1.weight", "mlp.fc1.weight", "attn.proj.bias"):
        del content["model"][f"encoder.blocks.1.{name}"]
    torch.save(content, tmp_path / "damaged.pth")
    listed = r"93% of the encoder's tensors fit.*blocks\.1\.norm1\.weight is missing.*blocks\.1\.mlp\.fc1"
    with pytest.raises(ValueError, match=listed):
        convert_checkpoint(tmp_path / "damaged.pth", tmp_path / "model")


def test_a_foreign_block_design_is_refused_with_the_list(tmp_path: Path) -> None:
    other = timm.create_model("vit_small_patch16_224", img_size=64, depth=2, num_classes=0).state_dict()
    other |= {f"blocks.{block}.rope.{part}": torch.zeros(3) for block in range(2) for part in ("a", "b")}
    torch.save(other, tmp_path / "rope.pth")
    with pytest.raises(ValueError, match=r"blocks\.0\.rope\.a is not expected"):
        convert_checkpoint(tmp_path / "rope.pth", tmp_path / "model")


def test_one_missing_tensor_of_many_is_warned_about(tmp_path: Path) -> None:
    content = read(AUTHORS)
    del content["model"]["encoder.blocks.1.norm1.bias"]
    torch.save(content, tmp_path / "nearly.pth")
    with pytest.warns(UserWarning, match=r"blocks\.1\.norm1\.bias is missing"):
        convert_checkpoint(tmp_path / "nearly.pth", tmp_path / "model")


def test_a_decoder_that_does_not_fit_is_refused_with_the_list(tmp_path: Path) -> None:
    content = read(AUTHORS)
    del content["model"]["decoder.norm.weight"]
    torch.save(content, tmp_path / "damaged.pth")
    with pytest.raises(ValueError, match=r"decoder and heads do not fit: decoder\.norm\.weight is missing"):
        convert_checkpoint(tmp_path / "damaged.pth", tmp_path / "model")


def test_another_gain_than_one_is_refused(tmp_path: Path) -> None:
    content = read(AUTHORS)
    content["model"]["encoder_proj_head.last_layer.weight_g"] *= 2
    torch.save(content, tmp_path / "gain.pth")
    with pytest.raises(ValueError, match="fixes this gain at 1"):
        convert_checkpoint(tmp_path / "gain.pth", tmp_path / "model")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("text.pth", b"hello", "not a readable PyTorch checkpoint|was refused"),
        ("empty.pth", b"", "not a readable PyTorch checkpoint"),
        ("half.pth", AUTHORS.read_bytes()[:200_000], "not a readable PyTorch checkpoint"),
        ("text.safetensors", b"hello", "not a readable safetensors file"),
    ],
)
def test_files_that_are_no_checkpoint_are_refused(name: str, data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=message):
        convert_checkpoint(tmp_path / name, tmp_path / "model")


def test_a_checkpoint_without_a_vision_transformer_is_refused(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "resnet.pth")
    with pytest.raises(ValueError, match=r"holds no plain vision transformer .*it has conv1.weight"):
        convert_checkpoint(tmp_path / "resnet.pth", tmp_path / "model")


def test_a_folder_with_something_in_it_is_not_written_to_unasked(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "note.txt").write_text("keep me")
    with pytest.raises(FileExistsError, match="is not empty"):
        convert_checkpoint(AUTHORS, tmp_path / "model")
    convert_checkpoint(AUTHORS, tmp_path / "model", overwrite=True)
    assert load_model(tmp_path / "model").config.patch_size == 8
    assert (tmp_path / "model" / "note.txt").exists()


def read(path: Path) -> dict[str, Any]:
    with torch.serialization.safe_globals([argparse.Namespace]):
        return dict(torch.load(path, weights_only=True))
