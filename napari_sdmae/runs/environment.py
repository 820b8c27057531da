"""What a run ran on: versions, machine, git revision. Imports no torch."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from napari_sdmae import __version__
from napari_sdmae.io.atomic import write_atomically
from napari_sdmae.runs.folder import RunFolder

PACKAGES = ("torch", "timm", "lightning-fabric", "numpy", "safetensors", "pillow", "tifffile", "scikit-image", "pydantic")


def describe_environment(**details: Any) -> dict[str, Any]:
    """Return versions and machine, with `details` (device, threads, data fingerprint, …) added."""
    return {
        "napari_sdmae": __version__,
        "git_revision": git_revision(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
        "host": platform.node(),
        **details,
    }


def write_environment(folder: RunFolder, **details: Any) -> None:
    """Write environment.json of the latest start."""
    write_atomically(folder.environment, json.dumps(describe_environment(**details), indent=1).encode())


def write_command(folder: RunFolder) -> None:
    """Write the command line of a new run, as it can be typed again."""
    program = ["python", "-m", "napari_sdmae"] if Path(sys.argv[0]).stem in ("__main__", "sdmae") else [sys.argv[0]]
    write_atomically(folder.command, (shlex.join([*program, *sys.argv[1:]]) + "\n").encode())


def git_revision() -> str | None:
    """Return the revision of the checkout this package runs from, or None where it is installed."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=root, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _version(package: str) -> str | None:
    """Return the installed version of `package`."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
