"""One zip from which napari-sdmae is installed without the internet: wheels, installers, checksums, licences.

    python bundle/make_bundle.py dist/napari_sdmae-0.1.0-py3-none-any.whl --torch-index https://download.pytorch.org/whl/cpu

The wheels are those of the system and the Python that run this. On Linux the registry's PyTorch brings CUDA, gigabytes of it;
the index of CPU builds is asked for PyTorch first. An empty ``--torch-index`` takes the registry's.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

from packaging.requirements import Requirement

HERE = Path(__file__).parent
INSTALLERS = ("install.sh", "install.command", "install.ps1", "install.bat")
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def main() -> None:
    """Make the bundle and print where it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, help="of napari-sdmae")
    parser.add_argument("--output", type=Path, default=Path("dist"), help="folder for the zip (default: dist)")
    parser.add_argument("--torch-index", default="", help="where PyTorch's builds come from; empty: the registry's")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.output) as folder:
        wheels = Path(folder) / "wheels"
        torch = download_torch(wheels, arguments.torch_index)
        download(wheels, f"{arguments.wheel}[all]", *torch)
        print(write_bundle(wheels, arguments.output, describe_torch(wheels)))


def download_torch(wheels: Path, index: str) -> list[str]:
    """Download PyTorch and torchvision from `index`; return them as requirements of exactly these versions.

    Raises
    ------
    SystemExit
        If an index was named and gave a build with CUDA.
    """
    download(wheels, "torch", "torchvision", "--no-deps", *(["--index-url", index] if index else []))
    if index and has_cuda(wheels):
        (name,) = (path.name for path in wheels.glob("torch-*.whl"))
        raise SystemExit(
            f"{name} is not the CPU build that was expected from {index}: is it reachable? Set TORCH_INDEX to an index of CPU "
            "builds, or to nothing (make bundle TORCH_INDEX=) for a bundle with CUDA"
        )
    found = [metadata(path) for path in wheels.glob("*.whl")]
    return [f"{one['Name']}=={one['Version']}" for one in found]


def download(wheels: Path, *words: str) -> None:
    """Run ``pip download`` into `wheels`; what lies there already is taken from there."""
    wheels.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "-qq", "--only-binary", ":all:", "--dest", str(wheels)]
    subprocess.run([*command, "--find-links", str(wheels), *words], check=True)


def has_cuda(wheels: Path) -> bool:
    """Return whether PyTorch is a build with CUDA: one that needs NVIDIA's libraries on this system."""
    needed = [Requirement(line) for path in wheels.glob("torch-*.whl") for line in metadata(path).get_all("Requires-Dist", [])]
    cuda = [one for one in needed if one.name.lower().startswith(("nvidia", "cuda"))]
    return any(one.marker is None or one.marker.evaluate({"extra": ""}) for one in cuda)


def describe_torch(wheels: Path) -> str:
    """Return what the reader of the bundle has to know of PyTorch."""
    if has_cuda(wheels):
        return "with CUDA, for NVIDIA GPUs; it works without one, but makes this file some GB larger than the CPU build would."
    return "the build for CPUs." if sys.platform == "linux" else "the build of PyPI for this system."


def write_bundle(wheels: Path, output: Path, torch: str) -> Path:
    """Write the zip of the folder around `wheels`; return its path."""
    (own,) = wheels.glob("napari_sdmae-*.whl")
    version, folder, system = metadata(own)["Version"], wheels.parent, f"{platform.system()} {platform.machine()}"
    name = f"napari-sdmae-{version}-{system}-py{PYTHON}".lower().replace(" ", "-")
    for installer in INSTALLERS:
        shutil.copy(HERE / installer, folder)
        (folder / installer).chmod(0o755)  # the zip keeps it: a double click on macOS needs it
    shutil.copy(HERE.parent / "LICENSE", folder)
    filled = (HERE / "README.txt").read_text().format(version=version, system=system, python=PYTHON, torch=torch)
    (folder / "README.txt").write_text(filled)
    (folder / "python-version.txt").write_text(f"{PYTHON}\n")
    (folder / "contents.txt").write_text(contents(wheels))
    (folder / "checksums.txt").write_text(checksums(folder))
    target = output / f"{name}.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:  # wheels are compressed already
        for path in files(folder):
            archive.write(path, Path(name) / path.relative_to(folder))
    return target


def files(folder: Path) -> list[Path]:
    """Return all files below `folder`, in order."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def checksums(folder: Path) -> str:
    """Return the SHA-256 of each file, as sha256sum reads them."""
    return "".join(f"{_sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in files(folder))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def contents(wheels: Path) -> str:
    """Return a line for each wheel: name, version, licence as its makers state it, size."""
    rows = [(one["Name"], one["Version"], licence(one), path) for path in files(wheels) for one in [metadata(path)]]
    return "".join(f"{name} {version}: {terms} ({path.stat().st_size / 1e6:.1f} MB)\n" for name, version, terms, path in rows)


def metadata(wheel: Path) -> Message:
    """Return the METADATA of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.count("/") == 1 and name.endswith(".dist-info/METADATA"))
        return HeaderParser().parsestr(archive.read(name).decode())


def licence(one: Message) -> str:
    """Return the licence that METADATA states: an expression, else classifiers, else the first line of free text."""
    stated = [line.rpartition(" :: ")[2] for line in one.get_all("Classifier", []) if line.startswith("License :: ")]
    free = str(one.get("License", "")).strip().split("\n")[0]
    return str(one.get("License-Expression") or ", ".join(stated) or free or "see the wheel")


if __name__ == "__main__":
    main()
