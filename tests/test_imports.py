"""Who may import what: checked on the source, and in real processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = [
    "config",
    "patches",
    "randomness",
    "losses",
    "head_losses",
    "metrics",
    "layers",
    "label_layers",
    "shape_layers",
    "models.sdmae",
    "models.reconstruction",
    "models.finetuned",
    "io.images",
    "io.checkpoints",
    "io.head_folder",
    "io.labels",
    "data.cache",
    "data.augment",
    "data.inspection",
    "data.labelled",
    "training.pretraining",
    "training.finetuning",
    "training.evaluation",
    "training.ablation",
    "training.run_folder",
    "inference.attention",
    "inference.predicting",
    "inference.embedding",
    "inference.reconstruction",
    "inference.queries",
    "cli",
]

BLOCK = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"{{name}} is blocked in this test")
sys.meta_path.insert(0, Blocked())
"""
VIEWER_ONLY = {"napari", "qtpy", "PyQt5", "PyQt6", "PySide6", "magicgui", "superqt", "vispy", "loky", "npe2"}


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=240, env=os.environ | environment, check=False
    )


def test_import_contracts_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([str(linter)], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stdout[-3000:]


def test_core_imports_and_trains_without_qt_and_napari(tmp_path: Path, tissue: Path) -> None:
    """The headless install has neither; a cluster node must still run the whole job."""
    data = tissue / "tiles"
    imports = "\n".join(f"import napari_sdmae.{name}" for name in CORE)
    code = (
        BLOCK.format(names=VIEWER_ONLY)
        + imports
        + f"""
from napari_sdmae.cli import main
code = main(["pretrain", "--data", {str(data)!r}, "--output", {str(tmp_path / "run")!r}, "--preset", "cpu-demo", "--epochs", "1",
      "--batch-size", "512", "--device", "cpu", "--precision", "fp32", "--model.encoder-width", "32",
      "--model.encoder-depth", "1", "--optimizer.warmup-epochs", "0", "--tiles.cache", {str(tmp_path / "cache")!r}])
assert code == 0, code
found = sorted({{name.split(".")[0] for name in sys.modules}} & {VIEWER_ONLY!r})
assert not found, found
"""
    )
    result = run_python(code)
    assert result.returncode == 0, result.stderr[-3000:]
    assert (tmp_path / "run" / "model" / "model.safetensors").exists()


@pytest.mark.parametrize(
    "module",
    [
        "napari_sdmae",
        "napari_sdmae.config.pretrain",
        "napari_sdmae.cli",
        "napari_sdmae.config.finetune",
        "napari_sdmae.config.presets",
        "napari_sdmae.config.head",
        "napari_sdmae.layers.base",
        "napari_sdmae.layers.labels",
        "napari_sdmae.layers.shapes",
        "napari_sdmae.io.labels.registry",
        "napari_sdmae.io.model_info.head",
        "napari_sdmae.labels.serialization",
        "napari_sdmae.runs.folder",
        "napari_sdmae.runs.events",
        "napari_sdmae.worker.protocol",
        "napari_sdmae.io.model_info.info",
    ],
)
def test_light_modules_leave_torch_out(module: str) -> None:
    heavy = {"torch", "torchvision", "timm", "lightning_fabric", "torchmetrics", "segmentation_models_pytorch"}
    result = run_python(f"import sys, {module}; found = sorted({heavy!r} & set(sys.modules)); assert not found, found")
    assert result.returncode == 0, result.stderr


def test_help_loads_nothing_but_the_command_line() -> None:
    """So that it comes at once: every other package takes a tenth of a second or more."""
    code = """
import sys
before = set(sys.modules)
from napari_sdmae.__main__ import main
assert main(["--help"]) == 0
loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
print("PACKAGES", *sorted(loaded - set(sys.stdlib_module_names)))
"""
    assert run_python(code).stdout.split("PACKAGES")[1].split() == ["napari_sdmae"]
