"""Every command that writes: how it is called, called again after it was cut off, and what it leaves in the end."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from faults.material import Material
from faults.oracle import Lost, complaint, judge
from faults.server import Server
from napari_sdmae.io.leftovers import REPLACING
from napari_sdmae.runs.ownership.job_numbers import OWNERS

Words = list[Any]
TOLD = {"status.json", "log.txt", "command.txt", "environment.json", "control", "ablation.yaml", "config.yaml"}
"""Files of a run that tell of times, processes and places, which differ from run to run."""
VOLATILE = ("id", "time", "seconds", "images_per_s", "memory", "minutes", "duration")
UUID = re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
GROWING = (".jsonl", ".txt")
"""Files that grow line by line; a run that goes on cuts off half a line."""


@dataclass(frozen=True)
class Command:
    """One command that writes into ``output`` of a case's folder.

    Attributes
    ----------
    name
        What its cases are called.
    words
        Its arguments, relative to the case's folder.
    run
        The run folder to resume where it has one.
    """

    name: str
    words: Words
    run: str = ""

    @property
    def trains(self) -> bool:
        """Whether it runs for many steps, so that places of faults are drawn and not all tried."""
        return self.words[0] in ("pretrain", "finetune", "ablate")

    def again(self, server: Server, folder: Path) -> None:
        """Start it again: with the same command, or where a run is there that can go on, with ``resume``.

        A command that finds everything written already may refuse to write it a second time.

        Raises
        ------
        Lost
            If neither works.
        """
        first = server.run(self.words, folder)
        reason = complaint(first, (0, 2))
        if not reason and first.status and self.run:
            reason = complaint(server.run(["resume", self.run], folder), (0,))
            reason = reason and f"{reason} [started again: {first.stderr.strip().splitlines()[-1]}]"
        if reason:
            raise Lost(f"cannot go on: {reason}")


def commands(material: Material) -> list[Command]:
    """Return all commands that write; the cheapest first."""
    labels, picture, cpu = material.labels, material.picture, ["--device", "cpu"]
    exact = [*cpu, "--precision", "fp32"]
    formats = ("geojson", "geojson.gz", "ome.tif", "png", "json", "csv", "ome.zarr")
    return [
        *(Command(f"export-{end}", ["export", labels, "--instances", "--output", f"output/labels.{end}"]) for end in formats),
        Command("convert", ["convert", material.model, "output/model"]),
        Command("convert-timm", ["convert", material.model, "output/timm", "--to", "timm"]),
        Command("convert-compact", ["convert", material.model, "output/small", "--compact"]),
        Command("embed-npz", ["embed", material.model, material.tiles, "--output", "output/features.npz", *exact]),
        Command("embed-parquet", ["embed", material.model, material.tiles, "--output", "output/features.parquet", *exact]),
        Command("reconstruct", ["reconstruct", material.model, picture, "--output", "output", *cpu]),
        Command("attention", ["attention", material.model, picture, "--output", "output", *cpu]),
        Command("predict", ["predict", material.head, picture, material.tiles, "--output", "output", "--probabilities", *exact]),
        Command("pretrain", ["pretrain", "--config", material.pretrain, "--output", "output/run"], "output/run"),
        Command("finetune", ["finetune", "--config", material.finetune, "--output", "output/run"], "output/run"),
        Command("ablate", ["ablate", "--config", material.ablation, "--output", "output/grid"]),
    ]


def chosen(known: list[Command], name: str) -> list[Command]:
    """Return the commands of a case of this name, all where it is only part of one: preparing cases takes time."""
    part = name.split("/")[1:2]
    return [command for command in known if command.name in part] or known


def results(folder: Path) -> dict[str, str]:
    """Return what lies in ``output`` of a case's folder, by name: a digest without what differs from run to run."""
    output = folder / "output"
    files = [path for path in sorted(output.rglob("*")) if path.is_file() and path.name not in TOLD and path.suffix != ".svg"]
    named = {path.relative_to(output).as_posix(): path for path in files}
    return {name: _digest(path, folder) for name, path in named.items() if "/checkpoints/" not in name and not _hidden(name)}


@contextmanager
def undisturbed(command: Command, material: Material) -> Iterator[tuple[Path, dict[str, str]]]:
    """Run a command without any fault; give its folder, which is removed at the end, and its results."""
    folder = material.folder / "undisturbed" / command.name
    (folder / "output").mkdir(parents=True)
    judge(material.server.run(command.words, folder), (0,))
    yield folder, results(folder)
    shutil.rmtree(folder)


def check_finished(folder: Path, reference: dict[str, str]) -> None:
    """Raise `Lost` unless the output is that of an undisturbed command, bit by bit, and nothing lies aside."""
    found = {name: digest for name, digest in results(folder).items() if not name.startswith("notes")}
    if absent := sorted(reference.keys() - found.keys()):
        raise Lost(f"missing in the end: {', '.join(absent[:3])}")
    if more := sorted(found.keys() - reference.keys()):
        raise Lost(f"more than undisturbed: {', '.join(more[:3])}")
    if different := sorted(name for name in reference if found[name] != reference[name]):
        raise Lost(f"not as undisturbed: {', '.join(different[:3])}")
    if left := leftovers(folder):
        raise Lost(f"left behind for ever: {', '.join(left[:3])}")


def _hidden(name: str) -> bool:
    """Return whether a file lies aside: hidden, but for those that OME-Zarr hides."""
    return any(part.startswith(".") and not part.startswith(".z") for part in name.split("/"))


def _digest(path: Path, folder: Path) -> str:
    data = UUID.sub(b"UUID", path.read_bytes().replace(str(folder).encode(), b"FOLDER"))
    if path.suffix == ".jsonl":
        lines = [json.loads(line) for line in data.splitlines()]
        data = json.dumps([_lasting(line) for line in lines]).encode()
    elif path.name.endswith((".json", ".geojson", ".geojson.gz")):
        data = gzip.decompress(data) if path.suffix == ".gz" else data
        data = json.dumps(_lasting(json.loads(data))).encode()
    return hashlib.sha256(data).hexdigest()


def _lasting(value: Any) -> Any:
    """Return a value without times."""
    if isinstance(value, dict):
        return {key: _lasting(one) for key, one in value.items() if key not in VOLATILE}
    return [_lasting(one) for one in value] if isinstance(value, list) else value


def leftovers(folder: Path) -> list[str]:
    """Return the files that lie aside in the output; who owned a run stays in it (``.owner``, docs/decisions/0054)."""
    output = folder / "output"
    found = (path.relative_to(output).as_posix() for path in sorted(output.rglob("*")))
    aside = (name for name in found if _hidden(name) or name.endswith((".tmp", ".old")))
    return [name for name in aside if OWNERS not in name.split("/")]


def left_behind(folder: Path) -> list[str]:
    """Return the files that a command which was not killed should have removed when it failed.

    The rest of a set of files, half of which had replaced older ones when the disk refused, is none of them: the next call
    moves it.
    """
    return [name for name in leftovers(folder) if not re.search(rf"\.{REPLACING}(/|$)", name)]


def check_whole(command: Command, folder: Path, reference: dict[str, str]) -> None:
    """Raise `Lost` if any file that has its final name is not whole.

    The files of a command that does not train must be those of the undisturbed one; those of a run must be readable.
    """
    output = folder / "output"
    for path in sorted(output.rglob("*")):
        name = path.relative_to(output).as_posix()
        if not path.is_file() or _hidden(name):
            continue
        if not command.trains and path.name not in TOLD and name in reference and ".zarr/" not in name:
            if _quiet_digest(path, folder) != reference[name]:
                raise Lost(f"half a file under its final name: {name} ({path.stat().st_size} bytes)")
        elif problem := _unreadable(path):
            raise Lost(f"half a file under its final name: {name}: {problem}")


def _quiet_digest(path: Path, folder: Path) -> str:
    try:
        return _digest(path, folder)
    except (ValueError, EOFError, OSError):
        return ""


def _unreadable(path: Path) -> str:
    """Return why a file cannot be read by its kind; empty if it can."""
    try:
        for _ in _read(path):
            pass
    except Exception as error:
        return f"{type(error).__name__} {error}"
    return ""


def _read(path: Path) -> Iterator[object]:
    if path.suffix in GROWING:
        return
    if not path.stat().st_size:
        raise ValueError("empty")
    if path.suffix == ".json":
        yield json.loads(path.read_bytes())
    elif path.suffix in (".npz", ".npy") or zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield archive.testzip()
    elif path.suffix == ".safetensors":
        data = path.read_bytes()
        header = json.loads(data[8 : 8 + int(np.frombuffer(data[:8], "<u8")[0])])
        ends = [one["data_offsets"][1] for name, one in header.items() if name != "__metadata__"]
        if len(data) - 8 - int(np.frombuffer(data[:8], "<u8")[0]) != max(ends):
            raise ValueError("cut short")
    elif path.suffix in (".png", ".jpg"):
        with Image.open(path) as image:
            yield image.convert("RGB")
