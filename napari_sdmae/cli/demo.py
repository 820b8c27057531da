"""`sdmae demo`: pictures of the shipped model at once, then the main job on the shipped tissue, through the public commands."""

from __future__ import annotations

import importlib.util
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

from napari_sdmae.notices import ATTENTION

METHODS = ("received", "rollout", "pca", "similarity")
FIRST_METHODS = {"received": "attention", "pca": "token colours"}
"""What the shipped model shows before anything is trained."""
HALF_DEPTH = ("--block", "5", "--interpolation", "bilinear")
"""Where the shipped model tells kinds of tissue apart best (docs/guide/attention.md)."""
REGION = (256, 256, 512, 512)
REGION_WORDS = tuple(map(str, REGION))
NUCLEI = "regions/endometrium_endometrial-polyp.jpg"
NUCLEI_MPP = "0.25"
"""Assumed µm per pixel of the shipped images of nuclei, which state none: what their nuclei look like."""


@dataclass(frozen=True)
class Demo:
    """Look at tissue with the shipped model; pre-train a small one, interrupt it, resume it, look into it; segment nuclei."""

    output: Path = Path("demo")
    """Folder for run and pictures; each demo gets a new folder inside."""
    epochs: int = 3
    """Epochs of pre-training: enough to see it learn within minutes; the preset has 10."""
    head_epochs: int = 8
    """Epochs of training the head that finds nuclei."""
    napari: bool = True
    """Open napari on the result when there is a display."""


def main(argv: Sequence[str]) -> int:
    """Run the demo; return the exit code of the first command that fails, else 0."""
    import tyro

    demo = tyro.cli(Demo, args=list(argv), prog="sdmae demo")
    folder = demo.output.resolve() / time.strftime("%Y-%m-%d-%H%M%S")
    shipped = Path(str(resources.files("napari_sdmae.resources")))
    tissue = shipped / "tissue"
    run, image = folder / "run", sorted((tissue / "regions").glob("*.*"))[0]
    start = time.monotonic()
    code = _first_pictures(tissue / NUCLEI, folder / "first-pictures")
    code = code or _train(tissue / "tiles", run, folder / "cache", demo.epochs) or _look(run, image, folder)
    code = code or _segment(run, shipped / "nuclei", tissue / NUCLEI, folder, demo.head_epochs)
    if code:
        return code
    _tell(folder, time.monotonic() - start)
    if demo.napari and _can_show():
        subprocess.run([sys.executable, "-m", "napari", "--plugin", "napari-sdmae", str(run)], check=False)
    return 0


def _first_pictures(image: Path, folder: Path) -> int:
    """Let the shipped model show its attention and token colours, and segment from a few strokes."""
    from napari_sdmae.cli.demo_scribbles import scribble_picture
    from napari_sdmae.io.model_info.info import default_model

    model = default_model()
    if model is None:  # an installation without models has nothing to show yet
        return 0
    for method, shown in FIRST_METHODS.items():
        words = ("--method", method, *HALF_DEPTH, "--region", *REGION_WORDS)
        title = f"1. The model that comes with the package: {shown}"
        if code := _run(title, "attention", model, image, "--output", folder, *words):
            return code
    scribbles = folder / f"{image.stem}-scribbles.png"
    print("\n1. The same model: gland, stroma and glass from eight strokes, as in the dock Scribbles", flush=True)
    scribble_picture(model, image, REGION, scribbles)
    print(scribbles, flush=True)
    return 0


def _train(data: Path, run: Path, cache: Path, epochs: int) -> int:
    """Pre-train, kill the job half-way as a power cut would, and resume it."""
    words = ["pretrain", "--preset", "cpu-demo", "--data", str(data), "--output", str(run), "--epochs", str(epochs)]
    words += ["--tiles.cache", str(cache), "--tiles.mpp", "0.5"]
    _say("2. Pre-train; killed half-way, as by a power cut", words)
    job = subprocess.Popen([sys.executable, "-m", "napari_sdmae", *words])
    while job.poll() is None and not _half_way(run):
        time.sleep(0.2)
    if job.poll() is None:
        job.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        job.wait()
    elif job.returncode:
        return job.returncode
    return _run("3. Resume exactly where the last checkpoint was", "resume", run)


def _look(run: Path, image: Path, folder: Path) -> int:
    """Reconstruct a masked region and write its attention maps."""
    region = ("--region", *REGION_WORDS)
    code = _run("4. Masked reconstruction", "reconstruct", run, image, "--output", folder / "reconstruction", *region)
    for method in METHODS:
        query = ("--query", "256", "256") if method == "similarity" else ()
        options: tuple[str | Path, ...] = ("--output", folder / f"attention-{method}", "--method", method, *region, *query)
        code = code or _run(f"5. Attention: {method}", "attention", run, image, *options)
    return code


def _segment(run: Path, nuclei: Path, image: Path, folder: Path, epochs: int) -> int:
    """Fine-tune a head that finds nuclei, segment a region, and export the nuclei once more in another format."""
    head, labels = folder / "nuclei-head", folder / "nuclei"
    options = ["--task", "instances", "--epochs", str(epochs), "--validate-every", "4", "--preview-every", "4"]
    rates = ["--optimizer.base-lr", "1e-2", "--optimizer.warmup-epochs", "1"]
    small = ["--head.width", "32", "--mpp", NUCLEI_MPP, "--seen-mpp", NUCLEI_MPP, *rates]
    train: tuple[str | Path, ...] = ("finetune", "--data", nuclei, "--model", run, "--output", head, *options, *small)
    region = ("--mpp", "0.5", "--region", *REGION_WORDS, "--cell-expansion", "3")
    geojson = labels / f"{image.stem}-labels.geojson"
    return (
        _run("6. Fine-tune a head on outlined nuclei", *train)
        or _run(
            "7. Segment nuclei: GeoJSON for QuPath, a table in µm, an overlay",
            "predict",
            head,
            image,
            "--output",
            labels,
            *region,
        )
        or _run("8. Export: from GeoJSON to OME-Zarr", "export", geojson, "--output", labels / f"{image.stem}-labels.ome.zarr")
    )


def _half_way(run: Path) -> bool:
    """Return whether half of the steps are done and a checkpoint holds some of them."""
    from napari_sdmae.runs.folder import RunFolder

    folder = RunFolder(run)
    status = folder.status()
    return status is not None and 0 < status.total_steps <= 2 * status.step and bool(folder.checkpoints())


def _tell(folder: Path, seconds: float) -> None:
    pictures = sorted(path for path in folder.rglob("*.png") if "cache" not in path.parts)
    last_preview = [path for path in pictures if path.parent.name == "previews"][-1:]
    shown = last_preview + [path for path in pictures if "previews" not in path.parts and "zarr" not in str(path)]
    print(f"\nDone in {seconds:.0f} s. The model: {folder / 'run' / 'model'}", flush=True)
    print(f"The nuclei: {folder / 'nuclei'} (drop the .geojson onto QuPath)\nPictures:", flush=True)
    print("\n".join(f"  {path}" for path in shown), flush=True)
    print(ATTENTION, flush=True)


def _can_show() -> bool:
    display = sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return display and importlib.util.find_spec("napari") is not None


def _run(title: str, *words: str | Path) -> int:
    """Show a command and run it in this process, which loads PyTorch once for all of them; return its exit status."""
    from napari_sdmae.cli import main as sdmae

    command = list(map(str, words))
    _say(title, command)
    return sdmae(command)


def _say(title: str, command: Sequence[str]) -> None:
    print(f"\n{title}\n  {shlex.join(['sdmae', *command])}", flush=True)
