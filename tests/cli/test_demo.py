"""`sdmae demo` as `make demo` runs it, shortened."""

import json
import os
import subprocess
import sys
from pathlib import Path

from PIL import Image

from napari_sdmae.io.labels.registry import import_labels


def test_demo_shows_the_shipped_model_trains_is_killed_resumes_and_writes_pictures(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    command = [sys.executable, "-m", "napari_sdmae", "demo", "--output", str(tmp_path), "--epochs", "2", "--head-epochs", "2"]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, check=False)
    said = result.stdout
    assert result.returncode == 0, said[-4000:]
    (folder,) = tmp_path.iterdir()
    assert (folder / "run" / "model" / "model.safetensors").exists()
    places = [said.index(f"endometrium_endometrial-polyp-{name}.png") for name in ("received-b5", "pca-b5", "scribbles")]
    assert max(places) < said.index("training from step 0"), "the shipped model's pictures come before the training"
    assert said.count("training from step 0 of 118") == 1, "the job that was killed began anew"
    assert said.count("of 118 (2 epochs") == 2
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
