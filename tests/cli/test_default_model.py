"""The model that comes with the package: found by name, used where none is named, its card told by ``sdmae inspect``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_heads import tiny_head

from napari_sdmae.cli import main
from napari_sdmae.config.pretrain import ModelConfig
from napari_sdmae.io.checkpoints.head_folder import save_head
from napari_sdmae.io.checkpoints.load import convert_checkpoint, load_encoder, load_model, save_model
from napari_sdmae.io.model_info import info as models
from napari_sdmae.io.model_info.card import SECTIONS
from napari_sdmae.models import SDMAE

CARD = "# Tissue, small\n\nResearch use only, not for diagnosis.\n\n" + "\n\n".join(f"## {name}\n\nOf it." for name in SECTIONS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as ``resources/models``: a compact model with its card, another model, and a head."""
    torch.manual_seed(0)
    work, folder = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("resources") / "models"
    sizes = {"encoder_width": 48, "encoder_depth": 2, "encoder_heads": 3, "decoder_width": 24, "decoder_depth": 1}
    save_model(work / "run" / "model", SDMAE(ModelConfig(tile_size=64, **sizes)), metadata={"mpp": 0.5})
    (work / "card.md").write_text(CARD)
    for name in ("tissue-small", "tissue-xl"):
        convert_checkpoint(work / "run", folder / name, compact=True, card=work / "card.md")
    save_head(folder / "nuclei", tiny_head("instances"))
    return folder


@pytest.fixture
def shipped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(models, "_shipped_folder", lambda: folder)
    return folder


@pytest.fixture
def nothing_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_shipped_folder", lambda: tmp_path / "none")


@pytest.fixture(scope="module")
def image(tissue: Path) -> Path:
    return sorted(tissue.glob("tiles/*/*.jpg"))[0]


def test_models_and_heads_are_told_apart(shipped: Path) -> None:
    assert models.shipped_models() == ["tissue-small", "tissue-xl"]
    assert models.shipped_heads() == ["nuclei"]
    assert models.default_model() == "tissue-small"
    info = models.model_info("tissue-small")
    assert (info.name, info.title, info.shipped, info.has_decoder) == ("tissue-small", "Tissue, small", True, True)
    assert info.folder == shipped / "tissue-small"
    assert load_model("tissue-small").encoder.blocks[0].mlp.fc1.weight.dtype == torch.float32
    assert load_encoder("nuclei").name == "nuclei"


def test_a_model_elsewhere_is_not_shipped(shipped: Path, tmp_path: Path) -> None:
    info = models.model_info(convert_checkpoint("tissue-small", tmp_path / "copy"))
    assert (info.title, info.shipped) == ("Tissue, small", False)
    (tmp_path / "copy" / "README.md").write_bytes(b"---\nlicense: mit\n# no heading\n---\n# Name\xff\n")
    assert models.model_info(tmp_path / "copy").title.startswith("Name")
    (tmp_path / "copy" / "README.md").unlink()
    assert models.model_info(tmp_path / "copy").title == "copy"


@pytest.mark.parametrize("options_first", [True, False])
@pytest.mark.parametrize("command", ["reconstruct", "attention"])
def test_an_image_alone_is_looked_at_with_it(
    shipped: Path, command: str, options_first: bool, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options, region = ["--output", str(tmp_path)], ["--region", "0", "0", "64", "64"]
    assert main([command, *(options if options_first else []), *region, str(image), *([] if options_first else options)]) == 0
    assert capsys.readouterr().err == (
        f"sdmae {command}: note: model tissue-small, which comes with napari-sdmae; name another before the image\n"
    )
    told = json.loads(next(tmp_path.glob("*.json")).read_text())
    assert told["model"] == str(shipped / "tissue-small")


@pytest.mark.parametrize("command", ["reconstruct", "attention"])
def test_a_named_model_is_used_in_any_order_of_flags(
    shipped: Path, command: str, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = shipped / "tissue-xl"
    for number, words in enumerate((["--device", "cpu", str(model), str(image)], [str(model), "--device", "cpu", str(image)])):
        assert main([command, *words, "--region", "0", "0", "64", "64", "--output", str(tmp_path / str(number))]) == 0
        assert capsys.readouterr().err == ""
        assert json.loads(next((tmp_path / str(number)).glob("*.json")).read_text())["model"] == str(model)


def test_features_with_and_without_a_named_model(
    shipped: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures, options = list(map(str, sorted(image.parent.glob("*.jpg"))[:2])), ["--mpp", "0.5", "--overwrite"]
    for number, words in enumerate(([pictures[0]], pictures, ["tissue-xl", pictures[0]])):
        assert main(["embed", "--output", str(tmp_path / f"{number}.npz"), *options, *words]) == 0
        assert ("note: model tissue-small" in capsys.readouterr().err) == (number < 2)
    sizes = [len(np.load(tmp_path / f"{number}.npz", allow_pickle=False)["features"]) for number in range(3)]
    assert sizes[0] == sizes[2] < sizes[1]
    assert main(["embed", str(shipped / "tissue-xl"), "--output", str(tmp_path / "3.npz")]) == 2
    assert "is a model: name images after it" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["reconstruct", "attention", "embed"])
def test_where_none_is_shipped_a_model_must_be_named(
    nothing_shipped: None, command: str, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, str(image), "--output", str(tmp_path / "out.npz")]) == 2
    assert capsys.readouterr().err.startswith(f"sdmae {command}: MODEL is missing, and no model comes with this installation")
    assert models.default_model() is None


def test_inspect_reads_the_card(shipped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "tissue-small"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(CARD.strip())
    assert "Comes with napari-sdmae · vit_small_patch16_224 · tiles of 64 px, patches of 16 px · 0.5 µm/px · 2 blocks" in said
    assert said.count("Research use only, not for diagnosis.") == 1
    assert main(["inspect", str(shipped / "nuclei")]) == 0
    said = capsys.readouterr().out
    assert "This model has no card: its data, licence, metrics and limits are not known." in said
    assert "**Research use only, not for diagnosis.**" in said
    assert main(["inspect", "tissue-small", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["card"], told["shipped"], told["depth"]) == (CARD, True, 2)


def test_inspect_of_a_run_without_a_model_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "status.json").write_text("{}")
    assert main(["inspect", str(tmp_path)]) == 2
    assert "has not saved a model yet" in capsys.readouterr().err
