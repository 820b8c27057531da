"""Names that users import go on working."""

import subprocess
import sys
from importlib import import_module

import pytest

from napari_sdmae.moved import MOVED

PUBLIC = {
    "napari_sdmae.models": ["SDMAE"],
    "napari_sdmae.losses": ["SDMAELoss"],
    "napari_sdmae.config": ["PretrainConfig", "FinetuneConfig", "HeadSpec"],
    "napari_sdmae.io.checkpoints": ["load_model", "load_encoder", "save_model", "convert_checkpoint"],
    "napari_sdmae.io.images": ["read_image"],
    "napari_sdmae.io.labels": ["export_labels", "import_labels"],
    "napari_sdmae.io.model_info": ["model_info"],
    "napari_sdmae.training": ["pretrain", "finetune", "RunFolder", "list_runs"],
    "napari_sdmae.training.ablation": ["ablate", "AblationEnded"],
    "napari_sdmae.inference": ["reconstruct", "attention_maps", "encode_field", "embed", "measure", "predict", "Prediction"],
}


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names(module):
    assert all(hasattr(import_module(module), name) for name in PUBLIC[module])


def test_old_names_are_the_new_modules_and_warn():
    code = f"""
import importlib, sys, warnings
for old, new in {MOVED!r}.items():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        module = importlib.import_module("napari_sdmae." + old)
    assert module is importlib.import_module("napari_sdmae." + new), old
    told = [str(one.message) for one in caught if one.category is DeprecationWarning]
    assert f"napari_sdmae.{{old}} is now napari_sdmae.{{new}}" in told, (old, told)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


RENAMED = {
    "io.images": {"UnusableImage": "InvalidImageError"},
    "io.images.read": {"UnusableImage": "InvalidImageError"},
    "io.images.field": {"FieldError": "InvalidFieldError"},
    "io.memory": {"TooLarge": "TooLargeError"},
    "io.labels": {"UnusableLabels": "InvalidLabelsError"},
    "io.labels.errors": {"UnusableLabels": "InvalidLabelsError"},
    "io.labels.registry": {"UnusableLabels": "InvalidLabelsError"},
    "models": {"masked_count": "num_masked"},
    "models.masking": {"masked_count": "num_masked", "count_masked": "num_masked_in"},
    "models.heads.head_model": {"Finetuned": "HeadModel"},
    "runs.folder": {"TakenOver": "TakenOverError"},
    "training.loop.checkpoints": {"DamagedCheckpoint": "CorruptCheckpointError"},
    "training.loop.engine": {"OutOfMemory": "OutOfMemoryError"},
    "training.loop.loop": {"Diverged": "DivergedError"},
    "worker.protocol": {"QueryError": "WorkerError"},
}


@pytest.mark.parametrize("module", RENAMED)
def test_old_names_in_modules_are_the_new_ones_and_warn(module):
    loaded = import_module(f"napari_sdmae.{module}")
    for old, new in RENAMED[module].items():
        with pytest.warns(DeprecationWarning, match=f"{old} is now {new}"):
            assert getattr(loaded, old) is getattr(loaded, new)
    with pytest.raises(AttributeError, match="nothing"):
        loaded.nothing  # noqa: B018


def test_what_never_was_is_not_found():
    with pytest.raises(ModuleNotFoundError):
        import_module("napari_sdmae.nothing")
