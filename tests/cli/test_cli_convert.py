"""``sdmae convert``: exit status and words."""

import argparse
import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from napari_sdmae.cli.convert import main
from napari_sdmae.config.pretrain import IMAGENET_MEAN, IMAGENET_STD
from napari_sdmae.humanize import size

AUTHORS = Path(__file__).parents[1] / "data" / "reference" / "tiny_p8_32.pth"


def test_converts_and_says_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(AUTHORS), str(tmp_path / "model")]) == 0
    assert "encoder and decoder, vit_small_patch16_224, 3 blocks, 32 px tiles, 8 px patches" in capsys.readouterr().out
    assert main([str(tmp_path / "model"), str(tmp_path / "timm"), "--to", "timm"]) == 0
    assert f"{tmp_path / 'timm'}: encoder, vit_small_patch16_224, 3 blocks" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{source}", "{folder}"], "is not empty"),
        (["{source}", "{folder}/new", "--to", "onnx"], "--to"),
        (["{folder}/nothing.pth", "{folder}/new"], "no model at"),
        (["{source}"], "required"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "something").write_text("")
    assert main([item.format(source=AUTHORS, folder=tmp_path) for item in arguments]) == 2
    complaint = capsys.readouterr().err.strip()
    assert complaint.startswith("sdmae convert: ")
    assert message in complaint
    assert "\n" not in complaint


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A timm state dict in a folder of its own."""
    (tmp_path / "from").mkdir()
    vit = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=1, num_classes=0)
    save_file(vit.state_dict(), tmp_path / "from" / "vit.safetensors")
    return tmp_path / "from" / "vit.safetensors"


def written(folder: Path) -> tuple[list[float], list[float]]:
    told = json.loads((folder / "config.json").read_text())["pretrained_cfg"]
    return told["mean"], told["std"]


def test_pixel_statistics_are_assumed_aloud(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(weights), str(tmp_path / "model")]) == 0
    assert "note: vit.safetensors does not say its pixel mean and std" in capsys.readouterr().err
    assert written(tmp_path / "model") == (list(IMAGENET_MEAN), list(IMAGENET_STD))


def test_pixel_statistics_as_told(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(weights), str(tmp_path / "model"), *["--mean", "0.5", "0.6", "0.7", "--std", "0.1", "0.2", "0.3"]]) == 0
    assert written(tmp_path / "model") == ([0.5, 0.6, 0.7], [0.1, 0.2, 0.3])
    assert "note" not in capsys.readouterr().err
    assert main([str(tmp_path / "model"), str(tmp_path / "again"), *["--mean", "0.5", "0.6", "0.7"]]) == 2
    assert "leave them out" in capsys.readouterr().err


def test_pixel_statistics_of_a_timm_config_beside_the_file(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {"architecture": "vit_tiny_patch16_224", "pretrained_cfg": {"mean": [0.7, 0.6, 0.7], "std": [0.2, 0.2, 0.2]}}
    weights.with_name("config.json").write_text(json.dumps(told))
    assert main([str(weights), str(tmp_path / "model")]) == 0
    assert written(tmp_path / "model") == ([0.7, 0.6, 0.7], [0.2, 0.2, 0.2])
    assert "note" not in capsys.readouterr().err


def test_a_disk_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main([str(AUTHORS), str(tmp_path / "file" / "model")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_compact_model_says_its_size_and_that_its_card_is_a_draft(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = []
    for name, flags in (("whole", []), ("shared", ["--compact", "--mpp", "0.5"])):
        assert main([str(AUTHORS), str(tmp_path / name), *flags]) == 0
        said = capsys.readouterr()
        sizes.append((tmp_path / name / "model.safetensors").stat().st_size)
        assert said.out.endswith(f", {size(sizes[-1])}\n")
    assert sizes[1] < sizes[0] / 2
    assert f"note: complete {tmp_path / 'shared' / 'README.md'} before you share it: ## Data says" in said.err
    assert json.loads((tmp_path / "shared" / "config.json").read_text())["mpp"] == 0.5


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_only_a_model_of_ours_is_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_text("{}")
        before = tree(folder)
        assert main([str(AUTHORS), str(folder), "--overwrite"]) == 2
        assert f"{name} is there, and sdmae convert did not write it" in capsys.readouterr().err
        assert tree(folder) == before
        (folder / name).unlink()
    for _ in range(2):
        assert main([str(AUTHORS), str(folder), "--overwrite"]) == 0
        assert sorted(tree(folder)) == ["config.json", "model.safetensors", "notes.txt"]
    assert main([str(folder), str(folder), "--compact", "--overwrite"]) == 2
    assert "is the model that is read" in capsys.readouterr().err


def test_a_card_that_a_person_completed_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(AUTHORS), str(tmp_path / "model"), "--compact"]
    assert main(arguments) == 0
    assert main([*arguments, "--overwrite"]) == 0
    card = tmp_path / "model" / "README.md"
    card.write_text("# Completed by hand")
    before = tree(tmp_path)
    capsys.readouterr()
    assert main([*arguments, "--overwrite"]) == 2
    assert "README.md is another card" in capsys.readouterr().err
    assert tree(tmp_path) == before
    assert main([*arguments, "--overwrite", "--card", str(card)]) == 0
    assert card.read_text() == "# Completed by hand"


def test_what_an_authors_file_does_not_state_is_assumed_aloud(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As DeepSpeed saves it, without the program's arguments."""
    with torch.serialization.safe_globals([argparse.Namespace]):
        torch.save({"module": torch.load(AUTHORS, weights_only=True)["model"]}, tmp_path / "deepspeed.pth")
    assert main([str(tmp_path / "deepspeed.pth"), str(tmp_path / "assumed")]) == 0
    assert "note: deepspeed.pth does not state tile_size, encoder_heads, decoder_heads: the published" in capsys.readouterr().err
    told = ["--tile-size", "32", "--encoder-heads", "3", "--decoder-heads", "2"]
    assert main([str(tmp_path / "deepspeed.pth"), str(tmp_path / "told"), *told]) == 0
    assert main([str(AUTHORS), str(tmp_path / "plain")]) == 0
    assert "note" not in capsys.readouterr().err
    ours, theirs = (load_file(tmp_path / name / "model.safetensors") for name in ("told", "plain"))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
