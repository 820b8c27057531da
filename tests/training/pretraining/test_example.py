"""The example of this part runs as it stands."""

import runpy
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[3] / "examples" / "pretrain.py"


def test_pretrain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "argv", ["pretrain.py", str(tmp_path / "run"), "1"])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert "finished" in capsys.readouterr().out
    assert (tmp_path / "run" / "model" / "model.safetensors").exists()
