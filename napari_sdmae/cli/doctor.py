"""``sdmae doctor``: what this machine can do."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata
from importlib.util import find_spec
from typing import Any

from napari_sdmae import __version__
from napari_sdmae.humanize import size

PACKAGES = (
    "torch",
    "timm",
    "lightning-fabric",
    "numpy",
    "pillow",
    "tifffile",
    "imagecodecs",
    "scikit-image",
    "safetensors",
    "pydantic",
    "napari",
    "loky",
    "magicgui",
    "matplotlib",
    "qtpy",
    "superqt",
    "PyQt5",
    "PyQt6",
    "PySide6",
)
BINDINGS = ("PyQt5", "PyQt6", "PySide6", "PySide2")

# Runs in a child: this process never imports Qt, and a broken driver may end the process that asks.
OPENGL = """
from qtpy.QtGui import QGuiApplication, QOffscreenSurface, QOpenGLContext
import ctypes, sys
application = QGuiApplication(sys.argv[:1])
context, surface = QOpenGLContext(), QOffscreenSurface()
surface.create()
assert context.create() and context.makeCurrent(surface), "no OpenGL context"
get = ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_uint)(int(context.getProcAddress(b"glGetString")))
print(get(0x1F01).decode(), "- OpenGL", get(0x1F02).decode())
"""


def main(argv: list[str]) -> int:
    """Run ``sdmae doctor``; return the exit status."""
    parser = argparse.ArgumentParser(prog="sdmae doctor", description="Report what this machine can do.")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args(argv)
    report = examine()
    print(json.dumps(report, indent=2, ensure_ascii=False) if arguments.json else as_text(report))
    return 0


def examine() -> dict[str, Any]:
    """Return what this machine can do, section by section; takes a few seconds."""
    return {
        "machine": _machine(),
        "torch": _torch(),
        "viewer": _viewer(),
        "cache": _cache(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
    }


def as_text(report: dict[str, Any]) -> str:
    """Return the report as a table."""
    lines = []
    for section, entries in report.items():
        lines.append(section)
        lines += [f"  {name:<12} {', '.join(value) if isinstance(value, list) else value}" for name, value in entries.items()]
    return "\n".join(lines)


def _machine() -> dict[str, Any]:
    import psutil

    return {
        "napari-sdmae": __version__,
        "system": platform.platform(),
        "python": f"{platform.python_version()} ({sys.executable})",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory": _size(psutil.virtual_memory().total),
        "free memory": _size(psutil.virtual_memory().available),
    }


def _torch() -> dict[str, Any]:
    """Probe the devices and the precision that training would choose."""
    import torch

    from napari_sdmae.devices.precision import select_precision
    from napari_sdmae.devices.select import list_devices, select_device

    kind, why = select_device("auto")
    _, precision = select_precision("auto", torch.device(kind), training=True)
    found = [f"{device.device} ({device.name}, {_size(device.memory)})" for device in list_devices()]
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only"
    return {
        "build": f"{torch.__version__} ({build})",
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "devices": found,
        "trains on": f"{kind} ({why})",
        "precision": precision,
    }


def _viewer() -> dict[str, Any]:
    bindings = [f"{name} {_version(name)}" for name in BINDINGS if find_spec(name) is not None]
    there = find_spec("napari") is not None
    if not bindings or not there:
        return {
            "Qt": bindings or "none",
            "napari": "installed" if there else "not installed",
            "hint": 'pip install "napari-sdmae[pyqt5]" to use the dock widgets; the command line works without',
        }
    display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    needed = sys.platform == "linux" and not display
    opengl = "needs a display" if needed else _opengl()
    return {"Qt": bindings, "display": "none" if needed else display or "yes", "OpenGL": opengl}


def _opengl() -> str:
    """Return renderer and version as a child process finds them, or why there is none."""
    try:
        child = subprocess.run([sys.executable, "-c", OPENGL], capture_output=True, text=True, timeout=30, check=False)
    except subprocess.TimeoutExpired:
        return "no answer within 30 s"
    said = (child.stdout if child.returncode == 0 else child.stderr).strip().splitlines() or [f"ended with {child.returncode}"]
    return said[-1] if child.returncode == 0 else f"not usable: {said[-1]}"


def _cache() -> dict[str, Any]:
    """Say where tiles are cached, how much they take and how much is free."""
    from napari_sdmae.config.pretrain import TilesConfig
    from napari_sdmae.data.tiles.cache_folders import cache_root, list_caches

    folder = cache_root(TilesConfig())
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    used = sum(size for _, size in list_caches(folder))
    return {"folder": str(folder), "used": _size(used), "free": _size(shutil.disk_usage(there).free)}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _size(count: int | None) -> str:
    return "unknown" if count is None else size(count)
