"""What is in the wheel, that the sdist builds the same one, and that it works where nothing else of this repository is."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
STAND_IN = [f"resources/models/stand-in/{name}" for name in ("README.md", "config.json", "model.safetensors")]
"""Files of a model that is packed with the others, so that this is tested whatever models there are."""
SITE = ["napari_sdmae/site/index.html", "napari_sdmae/site/guide/segment.html", "napari_sdmae/site/assets/javascripts/bundle.js"]
"""Files of the site as `make docs` builds it before the wheel; git does not track it."""


def run(*command: str, **options: object) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    return str(result.stdout + result.stderr)


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sdist of a clean copy of the tracked files, and the wheel that the sdist builds."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    )
    subprocess.run(["tar", "--null", "-T", "-", "-cf", str(source / "tree.tar")], cwd=ROOT, input=listed.stdout, check=True)
    with tarfile.open(source / "tree.tar") as archive:
        archive.extractall(source / "tree", filter="tar")
    for name in (*STAND_IN, *SITE):
        (source / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (source / "tree" / name).write_text("stand-in")
    told = run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(source / "tree"))
    assert "is absent from" not in told, "a folder of the wheel is no package: a set-up would print a page of warnings for each"
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(folder / "direct"), str(source / "tree"))
    return folder


def contents(wheel: Path) -> dict[str, int]:
    with zipfile.ZipFile(wheel) as archive:
        return {item.filename: item.CRC for item in archive.infolist() if not item.filename.endswith("RECORD")}


def test_sdist_builds_the_same_wheel(dist: Path) -> None:
    (through_sdist,), (direct,) = dist.glob("*.whl"), (dist / "direct").glob("*.whl")
    assert contents(through_sdist) == contents(direct)


def test_wheel_holds_what_it_should_and_nothing_else(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    names = set(contents(wheel))
    tracked = set(
        run(
            "git", "ls-files", "--cached", "--others", "--exclude-standard", "napari_sdmae", "resources", "docs/guide", cwd=ROOT
        ).split("\n")
    )
    listed = [name.removeprefix("docs/") for name in (*filter(None, tracked), *STAND_IN, *SITE)]
    expected = {name if name.startswith("napari_sdmae") else f"napari_sdmae/{name}" for name in listed}
    packaged = {name for name in names if ".dist-info/" not in name}
    assert packaged == expected
    assert "napari_sdmae/napari.yaml" in names
    assert any(name.startswith("napari_sdmae/resources/tissue/") for name in names)
    assert any(name.endswith("licenses/LICENSE") for name in names)


@pytest.fixture(scope="module")
def clean(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the programs of a fresh environment that holds the wheel; what it depends on is the one copy of this environment."""
    folder = tmp_path_factory.mktemp("clean") / "venv"
    venv.create(folder, symlinks=os.name != "nt")
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    variables = {"base": str(folder), "platbase": str(folder)}
    packages = Path(sysconfig.get_path("purelib", "venv", vars=variables))
    # A plain line adds a folder without the .pth files in it, so that the editable install of this repository stays out.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (wheel,) = dist.glob("*.whl")
    run(sys.executable, "-m", "pip", "--python", str(programs / "python"), "install", "--quiet", "--no-deps", str(wheel))
    return programs


def outside() -> dict[str, str]:
    """Return an environment in which nothing leads to this repository."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}


def test_installed_wheel_describes_itself_and_looks_at_shipped_tissue(clean: Path, tmp_path: Path) -> None:
    assert "usage: sdmae COMMAND" in run(str(clean / "sdmae"), "--help", env=outside(), cwd=tmp_path)
    code = "import napari_sdmae.resources as r; print(*r.__path__)"
    shipped = Path(run(str(clean / "python"), "-c", code, env=outside(), cwd=tmp_path).strip())
    assert clean.parent in shipped.parents
    picture = min((shipped / "tissue" / "tiles").rglob("*.jpg"))
    run(str(clean / "sdmae"), "attention", "tissue-vit-tiny", str(picture), "--output", "maps", env=outside(), cwd=tmp_path)
    assert {path.suffix for path in (tmp_path / "maps").iterdir()} == {".png", ".tif", ".json"}


MANIFEST = """
from npe2 import PluginManager
from npe2.manifest.utils import import_python_name
manager = PluginManager()
manager.discover()
manifest = manager.get_manifest("napari-sdmae")
for command in manifest.contributions.commands:
    assert callable(import_python_name(command.python_name))
import napari_sdmae
print(napari_sdmae.__file__, len(manifest.contributions.commands), len(manifest.contributions.widgets))
"""


def test_installed_wheel_has_a_valid_manifest_whose_commands_can_be_imported(clean: Path, tmp_path: Path) -> None:
    assert "valid" in run(str(clean / "python"), "-m", "npe2", "validate", "napari-sdmae", env=outside(), cwd=tmp_path).lower()
    told = run(str(clean / "python"), "-c", MANIFEST, env=outside() | {"QT_QPA_PLATFORM": "offscreen"}, cwd=tmp_path)
    where, commands, widgets = told.split("\n")[-2].split()
    assert clean.parent in Path(where).parents
    declared = yaml.safe_load((ROOT / "napari_sdmae" / "napari.yaml").read_text())["contributions"]
    assert (int(commands), int(widgets)) == (len(declared["commands"]), len(declared["widgets"]))
