"""Bad images: each is given to every command that reads images, alone and beside a sound one."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from faults import odd_files, pictures
from faults.campaign import Bench, Case
from faults.material import Material
from faults.oracle import Lost, check_untouched, complaint, fingerprint

Make = Callable[[Path], None]
COMMANDS = ("inspect", "predict", "embed", "attention", "reconstruct", "export", "evaluate")


def missing() -> str:
    """Return what this machine lacks."""
    return ""


def cases(material: Material, seed: int, name: str = "") -> Iterator[Case]:
    """Yield all cases; those of one seed are always the same."""
    for (kind, name, make), _ in zip(_files(material, seed), cycle(COMMANDS), strict=False):
        label = name.encode("ascii", "backslashreplace").decode().replace("\n", "_").replace("\x1b", "_")[:40]
        yield Case(f"images/{kind}/{label}", kind, partial(_attempt, name=name.rpartition("/")[2], make=make, commands=COMMANDS))


def sample(material: Material, seed: int) -> Iterator[Case]:
    """Yield one case of each kind, with one command each in turn."""
    kinds: set[str] = set()
    commands = cycle(COMMANDS)
    for kind, name, make in _files(material, seed):
        if kind not in kinds:
            kinds.add(kind)
            yield Case(
                f"images/{kind}", kind, partial(_attempt, name=name.rpartition("/")[2], make=make, commands=(next(commands),))
            )


def _files(material: Material, seed: int) -> Iterator[tuple[str, str, Make]]:
    """Yield kind, name and maker of each bad image."""
    rng, sound = np.random.default_rng(seed), pictures.sound(material.picture)
    for name, data in sound.items():
        yield f"sound-{name[-3:]}", name, _writer(data)
        for how in (pictures.truncated, pictures.flipped):
            for what, broken in how(data, rng):
                yield f"{how.__name__}-{name[-3:]}", f"{name[:-4]}-{what}{name[-4:]}", _writer(broken)
    for name in ("strips.tif", "tiles.tif", "labels.tif"):
        for how in (pictures.absurd_tags, pictures.loops):
            for what, broken in how(sound[name]):
                yield how.__name__, f"{name[:-4]}-{what}.tif", _writer(broken)
    others = (odd_files.absurd_sizes(sound), odd_files.bombs(), odd_files.pretenders(rng))
    for kind, files in zip(("absurd_sizes", "bombs", "pretenders"), others, strict=True):
        for name, data in files:
            yield kind, name, _writer(data)
    with Image.open(material.picture) as image:
        values = dict(odd_files.strange_values(np.asarray(image)))
    for name, pixels in values.items():
        yield "strange_values", f"{name}.tif", partial(_save_tiff, pixels=pixels)
    for name, make in odd_files.things().items():
        yield "things", name, make


def _writer(data: bytes) -> Make:
    return lambda path: path.write_bytes(data) and None


def _save_tiff(path: Path, pixels: np.ndarray) -> None:
    tifffile.imwrite(path, pixels, photometric="rgb" if pixels.shape[-1] == 3 and pixels.ndim == 3 else "minisblack")


def _attempt(bench: Bench, name: str, make: Make, commands: tuple[str, ...]) -> None:
    """Give a bad image to each command; it may be used or refused, in words, and nothing else may come of it."""
    given, output = bench.folder / "given", bench.folder / "output"
    _lay_out(bench, given, name, make)
    output.mkdir()
    before = fingerprint(given)
    ended = bench.server.run_all([_words(command, bench, given, name, output) for command in commands], bench.folder)
    reasons = [f"{command}: {reason}" for command, one in zip(commands, ended, strict=True) if (reason := complaint(one))]
    if "predict" in commands and not list((output / "predict").glob("a-sound-one-*")):
        reasons.append("predict: the sound image beside it was not predicted")
    check_untouched(before, fingerprint(given))
    if (bench.folder / "canary").exists():
        reasons.append("code in the file was executed")
    if reasons:
        raise Lost("; ".join(reasons))


def _lay_out(bench: Bench, given: Path, name: str, make: Make) -> None:
    """Lay the bad file out as an image beside a sound one, and as the mask of an image among sound ones."""
    (given / "images").mkdir(parents=True)
    make(given / "images" / name)
    shutil.copy(bench.material.picture, given / "images" / "a-sound-one.png")
    for part in ("images", "labels"):
        shutil.copytree(bench.material.labelled / part, given / "labelled" / part)
    stem = name.rpartition(".")[0] if len(name) < 200 else "long"
    try:
        shutil.copy(bench.material.picture, given / "labelled" / "images" / f"{stem}.png")
        make(given / "labelled" / "labels" / name)
    except OSError as error:
        raise RuntimeError(f"{name!r}: {error}") from error


def _words(command: str, bench: Bench, given: Path, name: str, output: Path) -> list[object]:
    image, material = given / "images" / name, bench.material
    return {
        "inspect": ["inspect", given / "images"],
        "predict": [
            "predict",
            material.head,
            given / "images",
            "--output",
            output / "predict",
            "--device",
            "cpu",
            "--precision",
            "fp32",
        ],
        "embed": ["embed", material.model, image, "--output", output / "features.npz", "--device", "cpu", "--precision", "fp32"],
        "attention": ["attention", material.model, image, "--output", output / "attention", "--device", "cpu"],
        "reconstruct": ["reconstruct", material.model, image, "--output", output / "reconstruct", "--device", "cpu"],
        "export": ["export", image, "--output", output / "labels.geojson"],
        "evaluate": ["evaluate", material.head, "--data", given / "labelled", "--device", "cpu"],
    }[command]
