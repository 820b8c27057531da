"""The look before training, as the viewer shows it: no torch, quick."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.data.image_folder import DataError
from napari_sdmae.data.labelled.inspect import LabelledInspection, ScaleRange, inspect_labelled
from napari_sdmae.data.labelled.read import read_labelled


def look(task, data, **changes) -> LabelledInspection:
    return inspect_labelled(FinetuneConfig.model_validate({"task": task, "data": data} | changes))


def test_what_is_said_is_what_training_would_read(masks, settings):
    found = look("segmentation", masks)
    labelled = read_labelled(settings("segmentation", masks))
    assert (found.images, found.fingerprint) == (10, labelled.fingerprint)
    assert [one.name for one in found.classes] == ["background", "class 1", "class 2"]
    for part in ("train", "validation", "test"):
        images = labelled.part(part)
        assert found.parts[part].images == len(images)
        shown = {path.stem: np.asarray(Image.open(path)) for path in (masks / "masks").iterdir()}
        pixels = sum(int((shown[image.path.stem] == 2).sum()) for image in images)
        assert found.parts[part].amounts["class 2"] == pixels
    assert (found.smallest, found.largest) == ((128, 128), (128, 128))
    assert found.mpp == ScaleRange(None, None, 10)
    assert found.warnings == labelled.warnings
    assert found.grouped_by is None


def test_groups_scale_and_objects(nuclei):
    found = look("instances", nuclei, image_mpp=0.25)
    objects = sum(len(np.unique(np.asarray(Image.open(path)))) - 1 for path in (nuclei / "labels").glob("*.png"))
    assert sum(found.parts[part].amounts["nucleus"] for part in found.parts) == objects
    assert found.mpp == ScaleRange(0.25, 0.25, 0)


def test_the_table_that_says_slides(masks):
    (masks / "t.csv").write_text(
        "file,mask,slide\n" + "\n".join(f"images/case{i}.png,masks/case{i}.png,{i // 2}" for i in range(10))
    )
    found = look("segmentation", masks)
    assert found.grouped_by == "slide"
    assert sum(part.groups for part in found.parts.values()) == 5
    assert look("segmentation", masks, labels={"split": "image"}).grouped_by is None


def test_the_only_slide_is_divided_and_not_called_kept_together(masks):
    rows = "\n".join(f"images/case{i}.png,masks/case{i}.png,1" for i in range(10))
    (masks / "t.csv").write_text(f"file,mask,slide\n{rows}")
    assert look("segmentation", masks).grouped_by is None
    parts = ["train"] * 8 + ["test"] * 2  # the validation part is cut from the only slide that is trained on
    rows = "\n".join(f"images/case{i}.png,masks/case{i}.png,{part == 'test'},{part}" for i, part in enumerate(parts))
    (masks / "t.csv").write_text(f"file,mask,slide,part\n{rows}")
    assert look("segmentation", masks).grouped_by is None


def test_what_would_stop_a_run_is_an_error(tmp_path, masks):
    with pytest.raises(DataError, match="no folder or file"):
        look("segmentation", tmp_path / "gone")
    for path in sorted((masks / "masks").iterdir())[:3]:
        path.unlink()
    with pytest.raises(DataError, match="3 of 10 images cannot be used"):
        look("segmentation", masks)


def test_torch_is_not_loaded(nuclei):
    code = (
        "import sys; from napari_sdmae.config.finetune import FinetuneConfig; "
        "from napari_sdmae.worker.protocol import InspectLabelledRequest, handle; "
        f"handle(InspectLabelledRequest(FinetuneConfig(task='instances', data={str(nuclei)!r}))); "
        "print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"
