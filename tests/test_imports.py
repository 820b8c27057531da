"""Who may import what: checked on the source, and in real processes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "napari_sdmae"


def modules(*rooms: str) -> list[str]:
    """Return the names of all modules in these rooms."""
    files = [file for room in rooms for file in sorted((PACKAGE / room).rglob("*.py"))]
    names = [file.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for file in files]
    return [name.removesuffix(".__init__") for name in names]


CORE = modules(
    *sorted(folder.name for folder in PACKAGE.iterdir() if (folder / "__init__.py").is_file() and folder.name != "widgets")
)
"""All but the dock widgets."""
TORCH_FREE = [
    *(f"napari_sdmae.{name}" for name in ("rng", "humanize", "notices", "typing")),
    *modules(
        "text", "labels", "config", "io/images", "io/labels", "io/model_info", "data/tiles", "data/labelled", "runs", "layers"
    ),
    *modules("contributions"),
    "napari_sdmae.worker.child",
    *modules("worker/protocol"),
    "napari_sdmae.cli",
]
"""What the viewer may load; the import contract in pyproject.toml names the same rooms."""

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
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | environment, check=False)


def test_import_contracts_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([str(linter)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-3000:]


def test_core_imports_and_trains_without_qt_and_napari(tmp_path: Path, tissue: Path) -> None:
    """The headless install has neither; a cluster node must still run the whole job."""
    data = shutil.copytree(tissue / "tiles" / "skin", tmp_path / "skin", ignore=lambda _, names: sorted(names)[8:])
    imports = "\n".join(f"import {name}" for name in CORE)
    code = (
        BLOCK.format(names=VIEWER_ONLY)
        + imports
        + f"""
from napari_sdmae.cli import main
code = main(["pretrain", "--data", {str(data)!r}, "--output", {str(tmp_path / "run")!r}, "--preset", "cpu-demo", "--epochs", "1",
      "--batch-size", "8", "--device", "cpu", "--precision", "fp32", "--model.encoder-width", "32",
      "--model.encoder-depth", "1", "--optimizer.warmup-epochs", "0", "--tiles.cache", {str(tmp_path / "cache")!r}])
assert code == 0, code
found = sorted({{name.split(".")[0] for name in sys.modules}} & {VIEWER_ONLY!r})
assert not found, found
"""
    )
    result = run_python(code)
    assert result.returncode == 0, result.stderr[-3000:]
    assert (tmp_path / "run" / "model" / "model.safetensors").exists()


def test_torch_free_rooms_leave_torch_out() -> None:
    heavy = {"torch", "torchvision", "timm", "lightning_fabric", "torchmetrics", "segmentation_models_pytorch"}
    code = "\n".join(
        f"import {name}\nfound = sorted({heavy!r} & set(sys.modules)); assert not found, ({name!r}, found)" for name in TORCH_FREE
    )
    result = run_python(f"import sys\n{code}")
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
