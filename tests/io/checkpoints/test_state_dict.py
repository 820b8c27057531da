"""The one reader of state dicts: the same tensors out of any containers and prefixes; where there are two models it asks."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from napari_sdmae.cli.convert import main
from napari_sdmae.io.checkpoints.external import read_foreign

AUTHORS = Path(__file__).parents[2] / "data" / "reference" / "tiny_p8_32.pth"


def authors() -> dict[str, Tensor]:
    with torch.serialization.safe_globals([argparse.Namespace]):
        return dict(torch.load(AUTHORS, weights_only=True)["model"])


def prefixed(start: str) -> Callable[[dict[str, Tensor]], Any]:
    return lambda tensors: {start + name: tensor for name, tensor in tensors.items()}


def nested(*names: str) -> Callable[[dict[str, Tensor]], Any]:
    def wrap(tensors: dict[str, Tensor]) -> Any:
        content: Any = tensors
        for name in reversed(names):
            content = {name: content, "epoch": 3}
        return content

    return wrap


def compiled_parts(tensors: dict[str, Tensor]) -> Any:
    """As where only encoder and decoder are compiled, and each block is checkpointed."""
    inside = {name.replace("coder.", "coder._orig_mod."): tensor for name, tensor in tensors.items()}
    return {name.replace("blocks.1.", "blocks.1._checkpoint_wrapped_module."): tensor for name, tensor in inside.items()}


LAYOUTS: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    **{start: prefixed(start) for start in ("", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.")},
    **{start: prefixed(start) for start in ("net.", "_forward_module.model.", "model._orig_mod.net.", "student.backbone.")},
    **{name: nested(name) for name in ("model", "state_dict", "model_state_dict", "module", "net", "student", "teacher", "ema")},
    **{name: nested(name) for name in ("model_ema", "state_dict_ema", "target_network", "backbone", "encoder")},
    "deep": nested("a", "state_dict", "model", "module"),
    "lightning": lambda tensors: nested("state_dict")(prefixed("model._orig_mod.")(tensors)),
    "compiled parts": compiled_parts,
    "parameters": lambda tensors: {name: nn.Parameter(tensor) for name, tensor in tensors.items()},
    "float64": lambda tensors: {name: tensor.double() for name, tensor in tensors.items()},
    "twice": lambda tensors: {"encoder_of_model": tensors, "model": tensors},
    "optimizer": lambda tensors: {"model": tensors, "optimizer": {"state": {0: tensors}, "param_groups": []}},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_gives_the_same_tensors(layout: str, tmp_path: Path) -> None:
    torch.save(LAYOUTS[layout](authors()), tmp_path / "other.pth")
    found, expected = read_foreign(tmp_path / "other.pth"), read_foreign(AUTHORS)
    assert found.kind == "sdmae"
    for ours, theirs in ((found.trunk, expected.trunk), (found.rest, expected.rest)):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name].float(), theirs[name]) for name in theirs)


def changed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor + 1 for name, tensor in tensors.items()}


def flat_pair(tensors: dict[str, Tensor]) -> Any:
    both = prefixed("student.")(tensors) | prefixed("teacher.")(changed(tensors))
    return {"state_dict": both, "epoch": 3}


PAIRS: dict[str, tuple[Callable[[dict[str, Tensor]], Any], str, str]] = {
    "dino": (lambda one: {"student": prefixed("module.")(one), "teacher": changed(one)}, "student", "teacher"),
    "timm": (lambda one: {"state_dict": one, "state_dict_ema": changed(one)}, "state_dict", "state_dict_ema"),
    "ema": (lambda one: {"model": one, "model_ema": prefixed("module.")(changed(one))}, "model", "model_ema"),
    "lightning": (flat_pair, "student", "teacher"),
    "byol": (lambda one: {"m": prefixed("online_network.")(one) | prefixed("target_network.")(changed(one))},
             "online_network", "target_network"),
    "plain": (lambda one: {**one, "ema": changed(one)}, "main", "ema"),
}  # fmt: skip


@pytest.mark.parametrize("pair", PAIRS)
def test_of_two_models_neither_is_taken_unasked(pair: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layout, first, second = PAIRS[pair]
    path = tmp_path / "two.pth"
    torch.save(layout(authors()), path)
    with pytest.raises(ValueError, match=rf"holds the weights of 2 models: .*{second}.*choose one, such as --weights") as refused:
        read_foreign(path)
    assert first in str(refused.value)
    chosen = [read_foreign(path, name).trunk["norm.weight"] for name in (first, second)]
    torch.testing.assert_close(chosen[0] + 1, chosen[1])
    with pytest.raises(ValueError, match=r"holds no weights 'average'; it has"):
        read_foreign(path, "average")


def test_the_command_asks_which_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"student": authors(), "teacher": changed(authors())}, tmp_path / "dino.pth")
    words = [str(tmp_path / "dino.pth"), str(tmp_path / "model")]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "student, teacher; choose one, such as --weights teacher" in said
    assert not (tmp_path / "model").exists()
    assert main([*words, "--weights", "student"]) == 0
    assert main([*words, "--weights", "nobody", "--overwrite"]) == 2


def test_entries_that_are_no_tensors_are_counted(tmp_path: Path) -> None:
    torch.save({"model": authors() | {"steps": 7, "name": "x"}, "epoch": 3}, tmp_path / "more.pth")
    with pytest.warns(UserWarning, match=r"left out of more.pth, being no tensors: steps, name \(2 in all\)"):
        read_foreign(tmp_path / "more.pth")
