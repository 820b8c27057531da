"""Head folders and new heads: written safely, read back exactly, begun from any model."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import Block
from tiny_heads import noise, settings, tiny_head
from torch import nn

from napari_sdmae.config.head import HeadSpec
from napari_sdmae.config.pretrain import ModelConfig
from napari_sdmae.io.checkpoints.head_folder import load_head, save_head
from napari_sdmae.io.checkpoints.load import convert_checkpoint, load_encoder, load_model, model_info, save_model
from napari_sdmae.io.checkpoints.new_head import new_head
from napari_sdmae.io.model_info.head import read_head_spec
from napari_sdmae.labels.label_map import make_classes
from napari_sdmae.labels.thresholds import ObjectThresholds
from napari_sdmae.models import SDMAE
from napari_sdmae.models.heads.head_model import HeadModel

TWO = make_classes(["stroma", "tumour"])
KINDS: list[tuple[str, dict[str, Any]]] = [
    ("segmentation", {"decoder": "linear"}), ("segmentation", {"decoder": "upernet"}), ("segmentation", {"decoder": "dpt"}),
    ("segmentation", {"decoder": "unet"}), ("instances", {"decoder": "unet"}), ("instances", {"decoder": "upernet"}),
    ("classification", {"classifier": "mean"}),
    ("classification", {"classifier": "linear_probe"}), ("classification", {"classifier": "knn"}),
    ("detection", {"detector": "faster_rcnn"}), ("detection", {"detector": "retinanet"}),
]  # fmt: skip


def flat(output: Any) -> list[torch.Tensor]:
    """Return all tensors of an output."""
    if isinstance(output, torch.Tensor):
        return [output]
    parts = output.values() if isinstance(output, dict) else output
    return [tensor for part in parts if part is not None for tensor in flat(part)]


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small pre-trained SD-MAE for 64 px tiles at 0.5 µm/px."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"encoder_width": 48, "encoder_depth": 4, "encoder_heads": 3, "head_hidden": 16}
    model = SDMAE(ModelConfig(tile_size=64, decoder_width=24, decoder_depth=1, mean=(0.7, 0.5, 0.6), **sizes))
    folder = tmp_path_factory.mktemp("models") / "run" / "model"
    save_model(folder, model, metadata={"mpp": 0.5})
    return folder.parent


@pytest.mark.parametrize(("task", "head"), KINDS)
def test_a_loaded_head_computes_the_same_bits(task: str, head: dict[str, Any], tmp_path: Path) -> None:
    saved = tiny_head(task, head=head)
    if head.get("classifier") == "knn":
        saved.head.fit(torch.randn(25, 48), torch.arange(25) % 3)
    with torch.no_grad():
        for weight in saved.parameters():
            weight += 0.02 * torch.randn_like(weight)
    save_head(tmp_path / "model", saved)
    loaded = load_head(tmp_path)  # a run folder
    assert loaded.spec == saved.spec
    assert not loaded.training
    images = noise(saved, 2, 4, 6)
    found, wanted = flat(loaded(images)), flat(saved(images))
    assert len(found) == len(wanted) > 0
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, wanted, strict=True))
    assert torch.equal(loaded.pooled(images), saved.pooled(images))


def test_saving_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_head(tmp_path / name, tiny_head("instances"))
    for file in ("config.json", "model.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_timm_alone_builds_the_encoder_of_a_head(tmp_path: Path) -> None:
    """A reader that is not ours: config.json by json, the weights by safetensors, the encoder by timm."""
    head = tiny_head("segmentation")
    save_head(tmp_path, head)
    told = json.loads((tmp_path / "config.json").read_text())["encoder"]
    vit = timm.create_model(told["architecture"], num_classes=0, dynamic_img_size=True, **told["arguments"]).eval()
    tensors = load_file(tmp_path / "model.safetensors")
    vit.load_state_dict({name.removeprefix("encoder."): one for name, one in tensors.items() if name.startswith("encoder.")})
    images = noise(head, 1, 4, 4)
    assert torch.equal(vit.forward_features(images), head.encoder.forward_features(images))
    assert told["mean"] == list(head.spec.encoder.mean)


def test_a_head_is_a_model_where_an_encoder_is_wanted(tmp_path: Path) -> None:
    head = new_head(settings("segmentation", mpp=0.4), TWO)
    save_head(tmp_path / "glands" / "model", head)
    info = model_info(tmp_path / "glands")
    assert (info.name, info.tile_size, info.patch_size, info.depth, info.heads) == ("glands", 64, 16, 4, 3)
    assert (info.mpp, info.has_decoder, info.encoder) == (0.4, False, "vit_tiny_patch16_224")
    encoder = load_encoder(tmp_path / "glands")
    images = noise(head)
    assert torch.equal(encoder.vit.forward_features(images), head.eval().encoder.forward_features(images))
    assert (encoder.mean, encoder.std) == (head.spec.encoder.mean, head.spec.encoder.std)
    with pytest.raises(ValueError, match=r"is a fine-tuned head \(segmentation\).*reconstruction needs the pre-trained SD-MAE"):
        load_model(tmp_path / "glands")


def test_the_encoder_of_a_head_can_be_converted(tmp_path: Path) -> None:
    head = new_head(settings("classification"), TWO).eval()
    save_head(tmp_path / "head", head)
    folder = convert_checkpoint(tmp_path / "head", tmp_path / "timm", to="timm")
    theirs = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0).eval()
    images = noise(head)
    torch.testing.assert_close(theirs.forward_features(images), head.encoder.forward_features(images))


def test_a_model_without_a_head_says_what_to_do(pretrained: Path, tmp_path: Path) -> None:
    for read in (read_head_spec, load_head):
        with pytest.raises(ValueError, match="is a pre-trained model without a head; fine-tune one first"):
            read(pretrained)
        with pytest.raises(FileNotFoundError, match="no model at"):
            read(tmp_path / "nothing")


def test_the_viewer_reads_a_head_without_torch(tmp_path: Path) -> None:
    save_head(tmp_path, tiny_head("instances"))
    code = (
        "import sys; from napari_sdmae.io.model_info.head import read_head_spec\n"
        "from napari_sdmae.io.model_info.info import model_info\n"
        f"spec, info = read_head_spec({str(tmp_path)!r}), model_info({str(tmp_path)!r}); print(spec.task, info.depth)\n"
        "assert not {'torch', 'timm', 'safetensors'} & set(sys.modules)\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["instances", "4"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "is a head of version 2, this program reads 1; update it"),
        ({"task": "sorting"}, r"is no head that this program knows \(task: .*\); update it"),
        ({"colour": "red"}, r"is no head that this program knows \(colour: .*\); update it"),
    ],
)
def test_a_config_that_we_do_not_know_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    save_head(tmp_path, tiny_head("instances"))
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ValueError, match=message) as caught:
        read_head_spec(tmp_path)
    assert "\n" not in str(caught.value)


def test_weights_that_do_not_fit_are_listed(tmp_path: Path) -> None:
    save_head(tmp_path, tiny_head("segmentation"))
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["head.classifier.bias"]
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"head\.classifier\.bias is missing"):
        load_head(tmp_path)


def begun_from(model: Path | str, task: str = "segmentation", **changes: Any) -> HeadModel:
    return new_head(settings(task, model=str(model), **changes), TWO).eval()


def test_a_new_head_begins_with_the_encoder_of_a_run(pretrained: Path) -> None:
    head, encoder = begun_from(pretrained), load_encoder(pretrained)
    images = torch.randn(1, 3, 64, 96)
    assert torch.equal(head.encoder.forward_features(images), encoder.vit.forward_features(images))
    assert (head.spec.encoder.mean, head.spec.mpp, head.spec.tile_size) == ((0.7, 0.5, 0.6), 0.5, 64)
    assert head.spec.provenance == {"encoder": "run"}
    assert not head.encoder.pos_embed.requires_grad


def test_scale_and_tile_size_as_asked_else_the_models_else_the_images(pretrained: Path) -> None:
    assert begun_from(pretrained, mpp=0.25, tile_px=128).spec.model_dump()["mpp"] == 0.25
    assert begun_from(pretrained, tile_px=128).spec.tile_size == 128
    assert new_head(settings("segmentation", model=str(pretrained)), TWO, mpp=2.0).spec.mpp == 0.5
    assert new_head(settings("segmentation"), TWO, mpp=2.0).spec.mpp == 2.0
    assert begun_from(pretrained, tile_px=70).spec.tile_size == 80


def test_a_new_head_begins_with_the_authors_encoder(tmp_path: Path) -> None:
    source = Path(__file__).parents[2] / "data" / "reference" / "tiny_p8_32.pth"
    folder = convert_checkpoint(source, tmp_path / "authors")
    _begins_and_survives(folder, tmp_path)


def test_a_new_head_begins_with_the_encoder_of_mae(tmp_path: Path) -> None:
    """The layout of facebookresearch/mae: class token, stored position codes, and a decoder."""
    torch.manual_seed(0)
    vit = timm.create_model("vit_tiny_patch16_224", img_size=64, depth=2, embed_dim=48, num_heads=1, num_classes=0).eval()
    decoder = nn.ModuleDict(
        {
            "decoder_embed": nn.Linear(48, 32), "decoder_blocks": nn.ModuleList([Block(32, 16, qkv_bias=True)]),
            "decoder_norm": nn.LayerNorm(32), "decoder_pred": nn.Linear(32, 768),
        }
    )  # fmt: skip
    tokens = {"mask_token": torch.randn(1, 1, 32), "decoder_pos_embed": torch.randn(1, 17, 32)}
    torch.save({"model": {**vit.state_dict(), **decoder.state_dict(), **tokens}}, tmp_path / "mae.pth")
    folder = convert_checkpoint(tmp_path / "mae.pth", tmp_path / "mae")
    assert model_info(folder).has_decoder
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(begun_from(folder).encoder.forward_features(images), vit.forward_features(images))
    _begins_and_survives(folder, tmp_path)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vit_small_patch14_dinov2", {"img_size": 56}),  # class token, layer scale
        ("vit_small_patch14_reg4_dinov2", {"img_size": 56}),  # registers, codes for patches only
        ("vit_small_patch8_224", {"img_size": 32}),
        ("vit_base_patch16_clip_224", {"img_size": 64}),  # norm before the blocks
        ("vit_small_patch16_224", {"img_size": 64, "global_pool": "avg", "class_token": False, "qk_norm": True}),  # fc_norm
    ],
)
@pytest.mark.parametrize("task", ["segmentation", "detection"])
def test_a_new_head_begins_with_any_timm_folder(name: str, options: dict[str, Any], task: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    arguments = {"depth": 2, "embed_dim": 64, "num_heads": 2, **options}
    vit = timm.create_model(name, num_classes=0, **arguments)
    with torch.no_grad():
        for weight in vit.parameters():
            weight += 0.05 * torch.randn_like(weight)
    timm.models.save_for_hf(vit, tmp_path / "timm", model_args=arguments, safe_serialization=True)
    _begins_and_survives(tmp_path / "timm", tmp_path, vit.eval(), task)


def _begins_and_survives(folder: Path, place: Path, vit: torch.nn.Module | None = None, task: str = "segmentation") -> None:
    """Check that a head on the encoder in `folder` has its features, also after saving and loading, and as start of another."""
    first = 1 if task == "detection" else 0
    config, classes = settings(task, model=str(folder)), make_classes(["a", "b"], first)
    head = new_head(config, classes).eval()
    vit = vit or load_encoder(folder).vit
    images = noise(head, 1, *vit.patch_embed.grid_size)
    wanted = vit.forward_features(images)
    torch.testing.assert_close(head.encoder.forward_features(images), wanted)
    save_head(place / "head", head)
    again = load_head(place / "head")
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(flat(again(images)), flat(head(images)), strict=True))
    other = new_head(settings("classification", model=str(place / "head")), TWO).eval()
    torch.testing.assert_close(other.encoder.forward_features(images), wanted)
    assert other.spec.encoder == head.spec.encoder


def test_the_seed_decides_the_weights_and_nothing_else_is_drawn() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = (new_head(settings("segmentation", seed=seed), TWO).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["head.classifier.weight"], other["head.classifier.weight"])
    assert not torch.equal(one["encoder.blocks.0.attn.qkv.weight"], other["encoder.blocks.0.attn.qkv.weight"])


def test_settings_that_do_not_fit_say_so() -> None:
    with pytest.raises(ValueError, match="segmentation needs at least 2 classes, got 1"):
        new_head(settings("segmentation"), TWO[:1])
    with pytest.raises(ValueError, match=r"two classes have the same value: \[0, 0\]"):
        new_head(settings("segmentation"), (TWO[0], TWO[0]))
    with pytest.raises(ValueError, match="detection has its classes from value 1"):
        new_head(settings("detection"), TWO)
    with pytest.raises(ValueError, match="tile size 70 px is not a multiple of the patch size 16 px"):
        new_head(settings("segmentation", encoder={"tile_size": 70}), TWO)
    with pytest.raises(ValueError, match="did you mean"):
        new_head(settings("segmentation", encoder={"architecture": "vit_smal_patch16_224"}), TWO)
    with pytest.raises(FileNotFoundError, match="no model at 'nowhere'"):
        begun_from("nowhere")


def test_the_specification_has_what_the_viewer_shows(tmp_path: Path) -> None:
    head = new_head(settings("segmentation", mpp=0.5), TWO)
    head.spec = head.spec.model_copy(update={"metrics": {"test": {"mIoU": 0.7}}})
    save_head(tmp_path, head)
    spec = read_head_spec(tmp_path)
    assert isinstance(spec, HeadSpec)
    assert [one.name for one in spec.classes] == ["stroma", "tumour"]
    assert spec.metrics == {"test": {"mIoU": 0.7}}


def test_a_fixed_position_code_stays_fixed_through_a_chain_of_heads(pretrained: Path, tmp_path: Path) -> None:
    """A head of a head is trained as the first one was: sine-cosine codes never."""
    first = new_head(settings("classification", model=str(pretrained)), TWO)
    save_head(tmp_path / "first", first)
    second = new_head(settings("classification", model=str(tmp_path / "first")), TWO)
    for head in (first, second, load_head(tmp_path / "first")):
        assert head.spec.encoder.fixed_position
        assert not head.encoder.pos_embed.requires_grad


def test_a_learned_position_code_is_trained_on(tmp_path: Path) -> None:
    model = SDMAE(ModelConfig(tile_size=64, encoder_width=48, encoder_depth=2, encoder_heads=3, position="encoder"))
    save_model(tmp_path / "learned", model)
    head = new_head(settings("classification", model=str(tmp_path / "learned")), TWO)
    save_head(tmp_path / "head", head)
    assert load_head(tmp_path / "head").encoder.pos_embed.requires_grad


@pytest.fixture
def nuclei(tmp_path: Path) -> Path:
    """A head of instances that was moved away from where its seed had put it."""
    head = tiny_head("instances", 1, head={"decoder": "unet"}, seed=3)
    head.spec = head.spec.model_copy(update={"thresholds": ObjectThresholds(inside=0.4, valley=0.08)})
    save_head(tmp_path / "nuclei", head)
    return tmp_path / "nuclei"


def going_on(nuclei: Path, classes: Sequence[str], **changes: Any) -> HeadModel:
    config = settings("instances", model=str(nuclei), head={"decoder": "unet"} | changes)
    return new_head(config, make_classes(classes, 1)).eval()


def test_a_head_goes_on_from_the_decoder_of_another(nuclei: Path) -> None:
    before, after = load_head(nuclei), going_on(nuclei, ["class 0"])
    images = noise(before, 2)
    for wanted, found in zip(flat(before(images)), flat(after(images)), strict=True):
        assert torch.equal(found, wanted)
    assert after.spec.thresholds == before.spec.thresholds
    assert after.spec.provenance["continues"] == "nuclei"


def test_new_types_of_objects_leave_what_finds_them(nuclei: Path) -> None:
    before, after = load_head(nuclei), going_on(nuclei, ["lymphocyte", "tumour"])
    images = noise(before, 2)
    torch.testing.assert_close(after(images).foreground, before(images).foreground)
    torch.testing.assert_close(after(images).separation, before(images).separation)
    assert after(images).types.shape == (2, 2, *images.shape[2:])


def test_new_classes_leave_the_decoder(tmp_path: Path) -> None:
    save_head(tmp_path / "a", tiny_head("segmentation", 2, head={"decoder": "unet"}, seed=3))
    before = load_head(tmp_path / "a")
    after = new_head(settings("segmentation", model=str(tmp_path / "a"), head={"decoder": "unet"}), TWO)
    assert torch.equal(after.head.decoder.tokens[1].weight, before.head.decoder.tokens[1].weight)
    assert not torch.equal(after.head.classifier.weight, before.head.classifier.weight)


@pytest.mark.parametrize("changes", [{"decoder": "linear"}, {"width": 16}, {"separation": "boundary"}])
def test_another_kind_of_head_begins_anew(nuclei: Path, changes: dict[str, Any]) -> None:
    after = going_on(nuclei, ["class 0"], **changes)
    assert torch.equal(after.encoder.patch_embed.proj.weight, load_head(nuclei).encoder.patch_embed.proj.weight)
    assert not torch.equal(after.head.classifier.bias, load_head(nuclei).head.classifier.bias)
    assert "continues" not in after.spec.provenance
