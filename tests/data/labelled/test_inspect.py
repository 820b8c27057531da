"""The look before training, as the viewer asks for it: plain values, no torch, quick."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
from PIL import Image

from napari_sdmae.data.labelled.read import read_labelled
from napari_sdmae.worker.protocol import answer


def ask(task, data, **changes) -> dict:
    return answer({"kind": "inspect_labelled", "settings": {"task": task, "data": str(data)} | changes})


def test_what_is_said_is_what_training_would_read(masks, settings):
    found = ask("segmentation", masks)
    labelled = read_labelled(settings("segmentation", masks))
    assert json.loads(json.dumps(found)) == found
    assert (found["problem"], found["images"], found["fingerprint"]) == ("", 10, labelled.fingerprint)
    assert [one["name"] for one in found["classes"]] == ["background", "class 1", "class 2"]
    for part in ("train", "validation", "test"):
        images = labelled.part(part)
        assert found["parts"][part]["images"] == len(images)
        shown = {path.stem: np.asarray(Image.open(path)) for path in (masks / "masks").iterdir()}
        pixels = sum(int((shown[image.path.stem] == 2).sum()) for image in images)
        assert found["parts"][part]["amounts"]["class 2"] == pixels
    assert found["sizes"] == {"smallest": [128, 128], "largest": [128, 128]}
    assert found["mpp"] == {"smallest": None, "largest": None, "unknown": 10}
    assert found["warnings"] == list(labelled.warnings)
    assert found["grouped_by"] is None


def test_groups_scale_and_objects(nuclei):
    found = ask("instances", nuclei, image_mpp=0.25)
    objects = sum(len(np.unique(np.asarray(Image.open(path)))) - 1 for path in (nuclei / "labels").glob("*.png"))
    assert sum(found["parts"][part]["amounts"]["nucleus"] for part in found["parts"]) == objects
    assert found["mpp"] == {"smallest": 0.25, "largest": 0.25, "unknown": 0}
    assert "scale: 0.25 to 0.25 µm/px" in found["summary"]


def test_the_table_that_says_slides(masks):
    (masks / "t.csv").write_text(
        "file,mask,slide\n" + "\n".join(f"images/case{i}.png,masks/case{i}.png,{i // 2}" for i in range(10))
    )
    found = ask("segmentation", masks)
    assert found["grouped_by"] == "slide"
    assert sum(part["groups"] for part in found["parts"].values()) == 5
    assert "kept together: by slide" in found["summary"]


def test_what_would_stop_a_run_is_the_answer(tmp_path, masks):
    assert "no folder or file" in ask("segmentation", tmp_path / "gone")["problem"]
    for path in sorted((masks / "masks").iterdir())[:3]:
        path.unlink()
    assert "3 of 10 images cannot be used" in ask("segmentation", masks)["problem"]


def test_torch_is_not_loaded(nuclei):
    code = (
        "import sys; from napari_sdmae.worker.protocol import answer; "
        f"answer({{'kind': 'inspect_labelled', 'settings': {{'task': 'instances', 'data': {str(nuclei)!r}}}}}); "
        "print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"
