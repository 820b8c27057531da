"""What lies in the folder of the shown model when it cannot be exchanged."""

import errno
from pathlib import Path

import pytest

from napari_sdmae.training.loop.checkpoints import MODEL_FILES, publish


@pytest.mark.parametrize("broken", ["replace", "copyfile"])
def test_an_error_while_a_model_is_published_leaves_the_one_before(broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for folder in ("before", "new"):
        (tmp_path / folder).mkdir()
        for name in MODEL_FILES:
            (tmp_path / folder / name).write_text(folder)
    model = tmp_path / "model"
    publish(tmp_path / "before", model)

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "broken")

    if broken == "copyfile":
        monkeypatch.setattr(Path, "hardlink_to", fail)
        monkeypatch.setattr(
            "napari_sdmae.training.loop.checkpoints.shutil.copyfile", lambda _, path: (path.write_text("ha"), fail())
        )
    else:
        monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="broken"):
        publish(tmp_path / "new", model)
    assert {path.name: path.read_text() for path in model.iterdir()} == dict.fromkeys(MODEL_FILES, "before")
