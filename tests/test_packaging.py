"""What is in the wheel, and that the sdist builds the same one."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STAND_IN = [f"resources/models/stand-in/{name}" for name in ("README.md", "config.json", "model.safetensors")]
"""Files of a model that is packed with the others, so that this is tested whatever models there are."""
SITE = ["napari_sdmae/site/index.html", "napari_sdmae/site/guide/segment.html", "napari_sdmae/site/assets/javascripts/bundle.js"]
"""Files of the site as `make docs` builds it before the wheel; git does not track it."""


def run(*command: str, **options: object) -> str:
    result = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False, **options)  # type: ignore[call-overload]
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


def test_installed_wheel_has_a_valid_manifest(dist: Path, tmp_path: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path), str(wheel))
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    where = run(sys.executable, "-c", "import napari_sdmae.resources as r; print(r.__file__)", env=environment, cwd=tmp_path)
    assert where.startswith(str(tmp_path))
    output = run(sys.executable, "-m", "npe2", "validate", "napari-sdmae", env=environment, cwd=tmp_path)
    assert "valid" in output.lower()
