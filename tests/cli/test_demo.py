"""`sdmae demo` as `make demo` runs it, shortened."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from napari_sdmae.cli import demo, main
from napari_sdmae.io.labels.registry import import_labels


@pytest.fixture
def few(tissue: Path, tmp_path: Path) -> Path:
    """The shipped pictures with every fifth tile and every third image of nuclei: what is shown is as before."""
    tiles, nuclei = tissue / "tiles", tissue.parent / "nuclei"
    kept = {path.relative_to(tiles.parent): path for path in sorted(tiles.rglob("*.jpg"))[::5]}
    kept |= {path.relative_to(tissue): path for path in (tissue / "regions").iterdir()}
    for place, path in kept.items():
        (tmp_path / "tissue" / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "tissue" / place)
    left_out = {path.stem for number, path in enumerate(sorted((nuclei / "images").iterdir())) if number % 3}
    shutil.copytree(nuclei, tmp_path / "nuclei", ignore=lambda _, names: {name for name in names if Path(name).stem in left_out})
    return tmp_path


def test_demo_shows_the_shipped_model_trains_is_killed_resumes_and_writes_pictures(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(demo, "resources", SimpleNamespace(files=lambda _: few))
    status = main(["demo", "--output", str(tmp_path / "demo"), "--epochs", "2", "--head-epochs", "2"])
    said, told = capfd.readouterr()
    assert status == 0, told[-4000:]
    (folder,) = (tmp_path / "demo").iterdir()
    assert (folder / "run" / "model" / "model.safetensors").exists()
    places = [said.index(f"endometrium_endometrial-polyp-{name}.png") for name in ("received-b5", "pca-b5", "scribbles")]
    assert max(places) < said.index("2. Pre-train"), "the shipped model's pictures come before the training"
    starts = re.findall(r"training from step (\d+) of (\d+) \(2 epochs", told)
    assert [total for _, total in starts] == ["24", "24", "14"]  # of the job, of what was left of it, of the head
    assert int(starts[0][0]) == 0 < int(starts[1][0]), "the job that was killed began anew"
    assert '"finished"' in (folder / "run" / "status.json").read_text()
    pictures = [Path(line.strip()) for line in said[said.index("Pictures:") :].splitlines() if line.strip().endswith(".png")]
    assert len(pictures) >= 10
    assert json.loads((folder / "nuclei-head" / "report.json").read_text())["reported_on"] == "test"
    (geojson,) = (folder / "nuclei").glob("*.geojson")
    assert json.loads(geojson.read_text())["type"] == "FeatureCollection"
    (zarr,) = (folder / "nuclei").glob("*.ome.zarr")
    assert import_labels(zarr).labels.shape == (512, 512)
    for picture in pictures:
        low, high = Image.open(picture).convert("L").getextrema()
        assert high - low > 50, f"{picture} is nearly uniform"
