"""The example of fine-tuning runs as it stands."""

import json
import runpy
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[3] / "examples" / "finetune_nuclei.py"


def test_finetune_nuclei(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["finetune_nuclei.py", str(tmp_path / "run"), "1"])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert "finished" in capsys.readouterr().out
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["selected"]["by"] == "validation/PQ"
    assert report["images"]["test"] > 0
