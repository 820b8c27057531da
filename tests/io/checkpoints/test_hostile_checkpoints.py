"""Hostile checkpoints are refused in one line: nothing runs, nothing fills the memory, nothing ends the interpreter."""

from __future__ import annotations

import argparse
import re
import tracemalloc
from pathlib import Path

import pytest
import torch
from hostile_checkpoints import FILES, entry, pickled

from napari_sdmae.cli.convert import main
from napari_sdmae.io.checkpoints import pickle_limits
from napari_sdmae.io.checkpoints.external import read_foreign
from napari_sdmae.io.checkpoints.pickle_limits import check_torch_file

AUTHORS = Path(__file__).parents[2] / "data" / "reference" / "tiny_p8_32.pth"


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_checkpoint_is_refused_in_one_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, reason = FILES[name]
    path = make(tmp_path)
    assert main([str(path), str(tmp_path / "model")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("sdmae convert: ")
    assert said.count("\n") == 1
    assert re.search(reason, said), said
    assert all(letter.isprintable() or letter == "\n" for letter in said)
    assert not (tmp_path / "model").exists()


def test_a_pickle_that_goes_on_and_on_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickle_limits, "MAX_STEPS", 1000)
    with pytest.raises(ValueError, match="was refused: it has more than 1,000 entries"):
        read_foreign(pickled(entry(b"K\x010" * 600 + b"K\x01"))(tmp_path))


def test_what_is_expanded_is_never_written_out(tmp_path: Path) -> None:
    path = FILES["expanded"][0](tmp_path)
    tracemalloc.start()
    with pytest.raises(ValueError, match="was refused"):
        read_foreign(path)
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("zipped", [True, False])
def test_the_limits_let_through_what_training_programs_write(zipped: bool, tmp_path: Path) -> None:
    """A whole training state, with its optimizer, in today's format and in that of before PyTorch 1.6."""
    model = torch.nn.Sequential(*(torch.nn.Linear(4, 4) for _ in range(20)))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    content = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "args": argparse.Namespace(x=[1, (2, {"a": 3})])}
    torch.save(content, tmp_path / "run.pth", _use_new_zipfile_serialization=zipped)
    check_torch_file(tmp_path / "run.pth")
    check_torch_file(AUTHORS)
