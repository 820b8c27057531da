"""Whatever lies in ``resources/models``: small, complete, with a card that says what it must; the default where none is named."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from napari_sdmae.config.pretrain import ModelConfig
from napari_sdmae.io.checkpoints.head_folder import load_head
from napari_sdmae.io.checkpoints.load import convert_checkpoint, load_encoder, load_model, save_model
from napari_sdmae.io.model_info import info as models
from napari_sdmae.io.model_info.card import CARD, SECTIONS, card_problems, read_card
from napari_sdmae.models import SDMAE

MOST = 25_000_000
"""Bytes of a shipped model's weights at most."""
COMPLETE = "# Stand-in\n\nResearch use only, not for diagnosis.\n\n" + "\n\n".join(f"## {name}\n\nSaid." for name in SECTIONS)


def problems(folder: Path, most: int = MOST) -> list[str]:
    """Return what keeps a model folder from being shipped."""
    found = card_problems(read_card(folder) or "")
    if others := {path.name for path in folder.iterdir()} ^ {CARD, "config.json", "model.safetensors"}:
        found.append(f"files missing or too many: {sorted(others)}")
    if (size := (folder / "model.safetensors").stat().st_size) > most:
        found.append(f"{size / 1e6:.1f} MB, at most {most / 1e6:g} MB may be shipped")
    if wide := {str(one.dtype) for one in load_file(folder / "model.safetensors").values()} & {"torch.float32", "torch.float64"}:
        found.append(f"weights of {sorted(wide)}: make it with sdmae convert --compact")
    if re.search(r'"(/|[A-Z]:\\\\)', (folder / "config.json").read_text()):
        found.append("config.json names a folder of somebody's machine")
    head = models.is_head(config := models.read_config(folder))
    loaded = load_head(folder) if head else load_model(folder)
    if not all(weight.isfinite().all() and weight.dtype == torch.float32 for weight in loaded.parameters()):
        found.append("weights that are not finite, or not loaded as 32-bit")
    if not head and config.get("heads", True):
        found.append("holds the heads that only training needs: make it with sdmae convert --compact")
    return found + ([] if load_encoder(folder).mpp else ["its scale is not stated: give --mpp"])


def test_all_shipped_models_are_fit_to_be_shipped() -> None:
    folders = [models.find_model(name) for name in [*models.shipped_models(), *models.shipped_heads()]]
    assert {folder.name: problems(folder) for folder in folders} == {folder.name: [] for folder in folders}


def test_the_default_is_shipped_and_reconstructs() -> None:
    names = models.shipped_models()
    assert models.default_model() == (names[0] if names else None)
    assert all(models.model_info(name).has_decoder for name in names[:1])
    titles = [models.model_info(name).title for name in [*names, *models.shipped_heads()]]
    assert len(set(titles)) == len(titles)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that could be shipped."""
    sizes = {"encoder_width": 48, "encoder_depth": 1, "encoder_heads": 3, "decoder_width": 24, "decoder_depth": 1}
    save_model(tmp_path / "run" / "model", SDMAE(ModelConfig(tile_size=64, **sizes)), metadata={"mpp": 0.5})
    (tmp_path / "card.md").write_text(COMPLETE)
    return convert_checkpoint(tmp_path / "run", tmp_path / "stand-in", compact=True, card=tmp_path / "card.md")


def test_what_must_not_be_shipped_is_found(folder: Path, tmp_path: Path) -> None:
    assert problems(folder) == []
    assert "MB, at most 0.01 MB" in problems(folder, most=10_000)[0]
    (folder / "training.pt").touch()
    told = json.loads((folder / "config.json").read_text())
    told |= {"provenance": {"data": "/home/someone/slides"}, "mpp": None}
    (folder / "config.json").write_text(json.dumps(told))
    (folder / CARD).unlink()
    assert {line.split(":")[0].split(",")[0] for line in problems(folder)} >= {
        "no name", "no section ## Licence", "files missing or too many", "its scale is not stated",
        "config.json names a folder of somebody's machine",
    }  # fmt: skip
    whole = convert_checkpoint(tmp_path / "run", tmp_path / "whole", card=tmp_path / "card.md")
    assert [line.split(":")[0] for line in problems(whole)] == [
        "weights of ['torch.float32']", "holds the heads that only training needs",
    ]  # fmt: skip
