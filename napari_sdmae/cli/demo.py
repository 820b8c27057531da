"""`sdmae demo`: the main job on the shipped tissue, through the public commands, ending with pictures."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

METHODS = ("received", "rollout", "pca", "similarity")
REGION = ("256", "256", "512", "512")


@dataclass(frozen=True)
class Demo:
    """Pre-train a small SD-MAE on the shipped tissue, interrupt it, resume it, look into it."""

    output: Path = Path("demo")
    """Folder for run and pictures; each demo gets a new folder inside."""
    epochs: int | None = None
    """Epochs of pre-training; empty: the preset's."""
    napari: bool = True
    """Open napari on the result when there is a display."""


def main(argv: Sequence[str]) -> int:
    """Run the demo; return the exit code of the first command that fails, else 0."""
    import tyro

    demo = tyro.cli(Demo, args=list(argv), prog="sdmae demo")
    folder = demo.output.resolve() / time.strftime("%Y-%m-%d-%H%M%S")
    tissue = Path(str(resources.files("napari_sdmae.resources") / "tissue"))
    run, image = folder / "run", sorted((tissue / "regions").glob("*.*"))[0]
    start = time.monotonic()
    code = _train(tissue / "tiles", run, folder / "cache", demo.epochs) or _look(run, image, folder)
    if code:
        return code
    _tell(folder, time.monotonic() - start)
    if demo.napari and _can_show():
        _call([sys.executable, "-m", "napari", "--plugin", "napari-sdmae", str(run)])
    return 0


def _train(data: Path, run: Path, cache: Path, epochs: int | None) -> int:
    """Pre-train, kill the job half-way as a power cut would, and resume it."""
    command = _sdmae(
        "pretrain", "--preset", "cpu-demo", "--data", data, "--output", run, "--tiles.cache", cache, "--tiles.mpp", "0.5"
    )
    if epochs is not None:
        command += ["--epochs", str(epochs)]
    _say("1. Pre-train; killed half-way, as by a power cut", command)
    job = subprocess.Popen(command)
    while job.poll() is None and _progress(run) < 0.5:
        time.sleep(0.2)
    if job.poll() is None:
        job.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        job.wait()
    elif job.returncode:
        return job.returncode
    _say("2. Resume exactly where the last checkpoint was", _sdmae("resume", run))
    return _call(_sdmae("resume", run))


def _look(run: Path, image: Path, folder: Path) -> int:
    """Reconstruct a masked region and write its attention maps."""
    command = _sdmae("reconstruct", run, image, "--output", folder / "reconstruction", "--region", *REGION)
    _say("3. Masked reconstruction", command)
    code = _call(command)
    for method in METHODS:
        query = ["--query", "256", "256"] if method == "similarity" else []
        command = _sdmae(
            "attention", run, image, "--output", folder / f"attention-{method}", "--method", method, "--region", *REGION
        )
        _say(f"4. Attention: {method}", command + query)
        code = code or _call(command + query)
    return code


def _progress(run: Path) -> float:
    try:
        status = json.loads((run / "status.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0.0
    return float(status["step"] / status["total_steps"]) if status.get("total_steps") else 0.0


def _tell(folder: Path, seconds: float) -> None:
    pictures = sorted(path for path in folder.rglob("*.png") if "cache" not in path.parts)
    last_preview = [path for path in pictures if path.parent.name == "previews"][-1:]
    shown = last_preview + [path for path in pictures if path.parent.name != "previews"]
    print(f"\nDone in {seconds:.0f} s. The model: {folder / 'run' / 'model'}\nPictures:", flush=True)
    print("\n".join(f"  {path}" for path in shown), flush=True)
    print("Attention is not explanation, and this is not a medical device.", flush=True)


def _can_show() -> bool:
    display = sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return display and importlib.util.find_spec("napari") is not None


def _sdmae(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "napari_sdmae", *map(str, words)]


def _say(title: str, command: Sequence[str]) -> None:
    print(f"\n{title}\n  {shlex.join(['sdmae', *command[3:]])}", flush=True)


def _call(command: Sequence[str]) -> int:
    return subprocess.run(command, check=False).returncode
