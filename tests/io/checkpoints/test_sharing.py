"""Compact model folders, made to be shared: small, read back as 32-bit models that compute the same, with a card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_heads import noise, settings, tiny_head

from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.config.pretrain import ModelConfig, PretrainConfig
from napari_sdmae.inference import attention_maps, encode_field, reconstruct
from napari_sdmae.io.checkpoints.head_folder import load_head, save_head
from napari_sdmae.io.checkpoints.load import convert_checkpoint, load_encoder, load_model, model_info, save_model
from napari_sdmae.io.checkpoints.new_head import new_head
from napari_sdmae.io.images.read import read_image
from napari_sdmae.io.model_info.card import SECTIONS, card_problems, card_title, draft_card, read_card
from napari_sdmae.io.model_info.info import read_config
from napari_sdmae.labels.label_map import make_classes
from napari_sdmae.models import SDMAE

AUTHORS = Path(__file__).parents[2] / "data" / "reference" / "tiny_p8_32.pth"
SMALL: dict[str, Any] = {
    "tile_size": 64,
    "encoder_width": 96,
    "encoder_depth": 3,
    "encoder_heads": 3,
    "decoder_width": 48,
    "decoder_depth": 1,
}
CARD = "# Kidney, small\n\nResearch use only, not for diagnosis.\n\n" + "\n\n".join(f"## {name}\n\nSaid." for name in SECTIONS)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with its settings and a model whose weights have the sizes of trained ones."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("runs") / "kidney"
    config = PretrainConfig(data=Path("/secret/patients"), model=ModelConfig(**SMALL), mask_ratio=0.625)
    model = SDMAE(config.model)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight += 0.05 * torch.randn_like(weight)
    save_model(folder / "model", model, metadata={"target_normalisation": "patch", "mpp": 1.33, "provenance": {"data": "abc"}})
    (folder / "config.yaml").write_text(config.to_yaml())
    return folder


@pytest.fixture(scope="module")
def compact(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert_checkpoint(run, tmp_path_factory.mktemp("shared") / "kidney-small", compact=True)


@pytest.fixture(scope="module")
def field(tissue: Path) -> np.ndarray:
    return read_image(sorted(tissue.glob("tiles/*/*.jpg"))[0])[:128, :192]


def test_it_is_small_and_holds_all_that_is_needed_to_look_into_a_model(run: Path, compact: Path) -> None:
    full, tensors = load_file(run / "model" / "model.safetensors"), load_file(compact / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    assert tensors.keys() == {name for name in full if "_head." not in name}
    assert 2 * sum(tensor.numel() for tensor in tensors.values()) > 0.97 * (compact / "model.safetensors").stat().st_size
    told, was = read_config(compact), read_config(run / "model")
    assert told.pop("heads") is False
    assert was.pop("heads") is True
    assert told == was


def test_it_computes_in_32_bits_what_the_model_does(run: Path, compact: Path, field: np.ndarray) -> None:
    assert {tensor.dtype for tensor in load_model(compact).state_dict().values()} == {torch.float32}
    ours, theirs = (reconstruct(folder, field, seed=1) for folder in (compact, run))
    assert np.abs(ours.reconstruction.astype(int) - theirs.reconstruction).max() <= 1
    np.testing.assert_array_equal(ours.mask, theirs.mask)
    maps = [attention_maps(encode_field(load_encoder(folder), field), method="received").values for folder in (compact, run)]
    np.testing.assert_allclose(maps[0], maps[1], rtol=0.01)


@pytest.mark.parametrize("to", ["sdmae", "timm"])
def test_the_features_stay_within_the_precision_of_16_bits(run: Path, field: np.ndarray, tmp_path: Path, to: Any) -> None:
    shared = load_encoder(convert_checkpoint(run, tmp_path / "shared", to=to, compact=True))
    assert {weight.dtype for weight in shared.vit.state_dict().values()} == {torch.float32}
    whole = load_encoder(run)
    pixels = whole.normalise(torch.from_numpy(field[None]))
    with torch.no_grad():
        ours, theirs = shared.vit.forward_features(pixels), whole.vit.forward_features(pixels)
    assert not torch.equal(ours, theirs)
    assert ((ours - theirs).norm() / theirs.norm()).item() < 2e-3


def test_without_it_nothing_is_lost(run: Path, tmp_path: Path) -> None:
    copy = convert_checkpoint(run, tmp_path / "copy")
    for name in ("config.json", "model.safetensors"):
        assert (copy / name).read_bytes() == (run / "model" / name).read_bytes()


@pytest.mark.parametrize("task", ["segmentation", "instances", "classification", "detection"])
def test_a_head_is_shared_with_its_encoder(task: str, tmp_path: Path) -> None:
    saved = tiny_head(task)
    save_head(tmp_path / "run" / "model", saved)
    shared = load_head(convert_checkpoint(tmp_path / "run", tmp_path / "shared", compact=True, mpp=0.4))
    assert shared.spec == saved.spec.model_copy(update={"mpp": 0.4})
    assert {value.dtype for value in shared.state_dict().values() if value.is_floating_point()} == {torch.float32}
    images = noise(saved)
    torch.testing.assert_close(shared.pooled(images), saved.pooled(images), rtol=0.01, atol=0.01)
    assert (tmp_path / "shared" / "model.safetensors").stat().st_size < 0.55 * (
        tmp_path / "run/model/model.safetensors"
    ).stat().st_size
    whole = load_head(convert_checkpoint(tmp_path / "run", tmp_path / "whole"))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(whole.parameters(), saved.parameters(), strict=True))


def test_the_bank_of_nearest_neighbours_keeps_its_labels(tmp_path: Path) -> None:
    saved = tiny_head("classification", head={"classifier": "knn"})
    saved.head.fit(torch.randn(25, 48), torch.arange(25) % 3)
    save_head(tmp_path / "head", saved)
    shared = load_head(convert_checkpoint(tmp_path / "head", tmp_path / "shared", compact=True))
    assert torch.equal(shared.head.labels, saved.head.labels)


def test_heads_begin_from_it(compact: Path) -> None:
    config: FinetuneConfig = settings("segmentation").model_copy(update={"model": str(compact)})
    head = new_head(config, make_classes(["stroma", "tumour"]))
    assert {weight.dtype for weight in head.parameters()} == {torch.float32}
    assert head.spec.mpp == 1.33


def test_self_distillation_cannot_go_on_from_it(compact: Path) -> None:
    model = load_model(compact)
    images, mask = torch.zeros(1, 3, 64, 64), torch.arange(16)[None] < 10
    assert model(images, mask, heads=False).student is None
    with pytest.raises(ValueError, match=r"saved without the heads of self-distillation.*take the run folder"):
        model(images, mask)


def test_a_compact_folder_is_converted_again(compact: Path, tmp_path: Path) -> None:
    again = convert_checkpoint(compact, tmp_path / "again", mpp=0.65)
    assert model_info(again).mpp == 0.65
    assert model_info(compact).mpp == 1.33
    assert read_card(again) == read_card(compact)
    ours, theirs = load_model(again).state_dict(), load_model(compact).state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_other_programs_checkpoints_can_be_compact(tmp_path: Path) -> None:
    info = model_info(convert_checkpoint(AUTHORS, tmp_path / "authors", compact=True, mpp=0.5))
    assert (info.has_decoder, info.mpp) == (True, 0.5)
    assert not any("_head." in name for name in load_file(tmp_path / "authors" / "model.safetensors"))
    encoder = load_encoder(convert_checkpoint(AUTHORS, tmp_path / "timm", to="timm", compact=True, mpp=0.5))
    assert encoder.mpp == 0.5
    assert next(encoder.vit.parameters()).dtype == torch.float32


def test_weights_too_large_for_16_bits_are_refused(run: Path, tmp_path: Path) -> None:
    model = load_model(run)
    with torch.no_grad():
        model.mask_token[0, 0, 0] = 1e5
    save_model(tmp_path / "large", model)
    with pytest.raises(ValueError, match="mask_token: not finite, or above 65504, with 16 bits"):
        convert_checkpoint(tmp_path / "large", tmp_path / "shared", compact=True)
    assert not (tmp_path / "shared" / "model.safetensors").exists()


def test_the_drafted_card_repeats_the_recipe_but_no_folder(compact: Path) -> None:
    card = read_card(compact)
    assert card is not None
    assert card_title(card) == "kidney-small"
    assert "mask_ratio: 0.625" in card
    assert "secret" not in card
    assert {problem.split(" says")[0] for problem in card_problems(card)} == {
        f"## {name}" for name in ("Data", "Licence", "Metrics", "Limits")
    }


def test_a_card_travels_with_the_model(run: Path, tmp_path: Path) -> None:
    (tmp_path / "card.md").write_text(CARD)
    first = convert_checkpoint(run, tmp_path / "first", card=tmp_path / "card.md")
    second = convert_checkpoint(first, tmp_path / "second", compact=True)
    assert read_card(second) == CARD
    assert card_title(CARD) == "Kidney, small"
    assert card_problems(CARD) == []
    with pytest.raises(FileNotFoundError, match=r"no model card .*nothing\.md: give a Markdown file"):
        convert_checkpoint(run, tmp_path / "third", card=tmp_path / "nothing.md")
    assert not (tmp_path / "third").exists()


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        (CARD.replace("# Kidney, small\n", "Kidney\n"), "no name"),
        (CARD.replace("not for diagnosis", "good"), "it does not say"),
        (CARD.replace("## Limits\n\nSaid.", "## Limits\n"), "no section ## Limits, or nothing in it"),
        (CARD.replace("## Data\n\nSaid.", "## Data\n\n## Details"), "no section ## Data, or nothing in it"),
        (CARD.replace("## Metrics", "## Other"), "no section ## Metrics"),
        (draft_card("x"), "## Recipe says"),
    ],
)
def test_what_a_card_lacks_is_said(changed: str, problem: str) -> None:
    assert any(problem in line for line in card_problems(changed))
