"""What an error means for whoever called: one rule for all commands."""

from pathlib import Path

import pytest

from napari_sdmae.cli import main
from napari_sdmae.cli.common.parser import exit_status
from napari_sdmae.data.listing import DataError, TileCacheError
from napari_sdmae.io.images import InvalidImageError
from napari_sdmae.io.images.field import InvalidFieldError


@pytest.mark.parametrize(
    ("error", "status"),
    [
        *((kind("so"), 3) for kind in (DataError, InvalidImageError, InvalidFieldError)),
        *((kind("so"), 2) for kind in (ValueError, FileNotFoundError, FileExistsError)),
        *((kind("so"), 1) for kind in (RuntimeError, OSError, MemoryError, TileCacheError)),
    ],
)
def test_exit_statuses(error: Exception, status: int) -> None:
    assert exit_status(error) == status
    assert exit_status(error, started=True) == (1 if status == 2 else status)


@pytest.mark.parametrize(("command", "output"), [("embed", "features.npz"), ("predict", "out")])
def test_memory_that_runs_out_is_one_line(
    command: str, output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(f"napari_sdmae.cli.{command}.gather", full)
    monkeypatch.setattr("napari_sdmae.io.model_info.head.read_head_spec", lambda _: None)
    assert main([command, "model", str(tmp_path), "--output", str(tmp_path / output)]) == 1
    assert capsys.readouterr().err == f"sdmae {command}: this machine has not enough free memory\n"
