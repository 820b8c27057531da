"""The bundle for machines without internet, of small stand-ins for its wheels: what is chosen, packed and installed."""

import os
import platform
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from make_bundle import INSTALLERS, PYTHON, checksums, contents, download_torch, has_cuda, write_bundle

HERE = Path(__file__).parents[2] / "bundle"


def make_wheel(folder: Path, name: str, version: str, *lines: str) -> Path:
    """Write a wheel of one module, with a program ``napari`` if it is ours, and `lines` more in its METADATA."""
    folder.mkdir(parents=True, exist_ok=True)
    path, info = folder / f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.dist-info"
    metadata = "\n".join(["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", *lines, ""])
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", "def main(): print('opened')\n")
        archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/entry_points.txt", f"[console_scripts]\nnapari = {name}:main\n" if "sdmae" in name else "")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pip without the settings of this machine: nothing but what a test names is looked at."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


def requires(version: str, machine: str = platform.machine()) -> list[str]:
    """Return what a build for Linux needs, as PyTorch states it."""
    cuda = [] if version.endswith("+cpu") else [f"nvidia-cublas-cu12; platform_machine == '{machine}'"]
    return [f"Requires-Dist: {one}" for one in ("filelock", *cuda, "nvidia-nothing; extra == 'other'")]


def index(folder: Path, *versions: str) -> str:
    """Return the address of an index with PyTorch and torchvision of these versions."""
    for name in ("torch", "torchvision"):
        wheels = [make_wheel(folder / name, name, version, *requires(version)).name for version in versions]
        links = "".join(f'<a href="{wheel}">{wheel}</a>' for wheel in wheels)
        (folder / name / "index.html").write_text(f"<!DOCTYPE html><html><body>{links}</body></html>")
    return folder.as_uri()


@pytest.mark.usefixtures("offline")
def test_the_build_for_cpus_is_chosen_where_there_is_one(tmp_path: Path) -> None:
    found = download_torch(tmp_path / "wheels", index(tmp_path / "index", "2.0", "2.0+cpu"))
    assert sorted(found) == ["torch==2.0+cpu", "torchvision==2.0+cpu"]


@pytest.mark.usefixtures("offline")
def test_a_build_with_cuda_is_refused_where_one_for_cpus_was_expected(tmp_path: Path) -> None:
    address = index(tmp_path / "index", "2.0")
    with pytest.raises(SystemExit, match=r"torch-2\.0-py3-none-any\.whl is not the CPU build .*TORCH_INDEX="):
        download_torch(tmp_path / "wheels", address)


@pytest.mark.parametrize(("lines", "expected"), [(requires("2.0"), True), (requires("2.0", "other"), False), ([], False)])
def test_a_build_with_cuda_is_one_that_needs_its_libraries_on_this_machine(
    tmp_path: Path, lines: list[str], expected: bool
) -> None:
    """Whatever its name: PyPI's build for Linux on ARM is one for CPUs."""
    make_wheel(tmp_path, "torch", "2.0", *lines)
    assert has_cuda(tmp_path) is expected


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """A bundle of two wheels, unpacked elsewhere."""
    wheels = tmp_path / "making" / "wheels"
    make_wheel(wheels, "dependency", "3.1", "License-Expression: MIT")
    make_wheel(wheels, "napari_sdmae", "9.9", "Provides-Extra: all", "Requires-Dist: dependency; extra == 'all'")
    (tmp_path / "out").mkdir()
    bundle = write_bundle(wheels, tmp_path / "out", "the build for CPUs.")
    with zipfile.ZipFile(bundle) as archive:
        modes = {Path(one.filename).name: one.external_attr >> 16 for one in archive.infolist()}
        assert all(modes[name] & 0o111 == 0o111 for name in INSTALLERS), "a double click on macOS needs it"
        archive.extractall(tmp_path / "unpacked")
    assert {path.name for path in (tmp_path / "unpacked").iterdir()} == {bundle.stem}
    return tmp_path / "unpacked" / bundle.stem


def install(folder: Path, target: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    command = ["sh", str(folder / "install.sh"), str(target)]
    environment = os.environ | {"PYTHON": sys.executable} | variables
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder.parent, check=False)


def test_the_bundle_states_what_is_in_it(unpacked: Path) -> None:
    listed = {line.split("  ")[1] for line in (unpacked / "checksums.txt").read_text().splitlines()}
    there = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    assert listed == there - {"checksums.txt"}
    assert there >= {*INSTALLERS, "LICENSE", "README.txt", "contents.txt", "python-version.txt"}
    assert "dependency 3.1: MIT (0.0 MB)" in (unpacked / "contents.txt").read_text()
    told = (unpacked / "README.txt").read_text()
    assert "napari-sdmae 9.9 for " in told
    assert f"Python {PYTHON}" in told
    assert "{" not in told
    assert told.count("(not tried by its makers)") == 2, "macOS and Windows"


def test_it_installs_from_itself_alone_and_never_over_something(unpacked: Path, tmp_path: Path) -> None:
    done = install(unpacked, tmp_path / "program", PIP_INDEX_URL="http://127.0.0.1:9/")
    assert done.returncode == 0, done.stderr
    programs, environment = tmp_path / "program" / "bin", {key: os.environ[key] for key in os.environ if key != "PYTHONPATH"}
    opened = subprocess.run([programs / "napari"], capture_output=True, text=True, env=environment, check=True)
    assert opened.stdout == "opened\n"
    subprocess.run([programs / "python", "-c", "import dependency"], env=environment, check=True)
    again = install(unpacked, tmp_path / "program")
    assert (again.returncode, "exists already" in again.stderr) == (1, True)


def test_a_damaged_file_and_another_python_are_refused_before_anything_is_made(unpacked: Path, tmp_path: Path) -> None:
    (unpacked / "python-version.txt").write_text("2.7\n")
    other = install(unpacked, tmp_path / "program")
    assert (other.returncode, "packages for Python 2.7" in other.stderr) == (1, True)
    (unpacked / "python-version.txt").write_text(f"{PYTHON}\n")
    with next((unpacked / "wheels").glob("dependency*")).open("ab") as wheel:
        wheel.write(b"0")
    damaged = install(unpacked, tmp_path / "program")
    assert damaged.returncode != 0
    assert "dependency" in damaged.stdout + damaged.stderr
    assert not (tmp_path / "program").exists()


def test_the_installers_of_other_systems_are_written_alike_and_said_to_be_untried() -> None:
    shell, windows = (HERE / "install.sh").read_text(), (HERE / "install.ps1").read_text()
    for step in (
        "python-version.txt",
        "checksums.txt",
        "PIP_CONFIG_FILE",
        "--isolated install --quiet --no-index",
        "exists already",
    ):
        assert step in shell
        assert step in windows
    assert "install.sh" in (HERE / "install.command").read_text()
    assert "install.ps1" in (HERE / "install.bat").read_text()
    for name in ("install.command", "install.ps1", "install.bat"):
        assert "Not tried by its makers" in (HERE / name).read_text()


def test_checksums_and_contents_are_in_order(tmp_path: Path) -> None:
    for name in ("b", "a"):
        make_wheel(
            tmp_path / "wheels", name, "1.0", "License: Terms\n  and more", "Classifier: License :: OSI Approved :: BSD License"
        )
    assert [line.split()[0] for line in contents(tmp_path / "wheels").splitlines()] == ["a", "b"]
    assert "a 1.0: BSD License" in contents(tmp_path / "wheels")
    assert [line.split("  ")[1] for line in checksums(tmp_path).splitlines()] == [
        f"wheels/{name}-1.0-py3-none-any.whl" for name in "ab"
    ]
