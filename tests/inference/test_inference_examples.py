"""The examples of this part run as they stand."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(example: str, *arguments: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [example, *map(str, arguments)])
    runpy.run_path(str(EXAMPLES / example), run_name="__main__")


def test_reconstruct_image(model_folder: Path, tissue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = sorted(tissue.glob("tiles/*/*.jpg"))[0]
    run("reconstruct_image.py", model_folder, image, tmp_path / "three.png", monkeypatch=monkeypatch)
    width, height = Image.open(image).size
    assert Image.open(tmp_path / "three.png").size == (3 * width, height)


def test_attention_maps(model_folder: Path, tissue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = sorted(tissue.glob("tiles/*/*.jpg"))[0]
    run("attention_maps.py", model_folder, image, tmp_path / "maps.npz", monkeypatch=monkeypatch)
    maps = np.load(tmp_path / "maps.npz")
    assert maps["heads"].shape == (3, *maps["received"].shape)
    for name in ("received", "centre", "rollout"):
        assert maps[name].sum() == pytest.approx(1, abs=1e-5)
