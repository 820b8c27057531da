"""Files and folders of another user, and folders in which one may not write.

The command keeps its user, so that it finds its Python, but gives up what root may do more than others; the files are another's.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from faults.campaign import Bench, Case
from faults.material import Material
from faults.oracle import Lost, check_untouched, fingerprint, judge

OTHER = 65534
"""The user ``nobody``."""
Prepare = Callable[[Bench, Path], list[Any]]


def missing() -> str:
    """Return what this machine lacks."""
    return "" if os.geteuid() == 0 else "files of another user: giving files away needs root"


def cases(material: Material, seed: int, name: str = "") -> Iterator[Case]:
    """Yield all cases."""
    for name, (prepare, statuses, said) in CASES.items():
        yield Case(f"users/{name}", name, partial(_attempt, prepare=prepare, statuses=statuses, said=said))


def sample(material: Material, seed: int) -> Iterator[Case]:
    """Yield the cheap ones."""
    yield from (case for case in cases(material, seed) if case.kind in ("runs-one-closed", "predict-into", "stop", "export-over"))


def _attempt(bench: Bench, prepare: Prepare, statuses: tuple[int, ...], said: str) -> None:
    """Run a command on what belongs to another; it must say so, or do without, and change nothing there."""
    given = bench.folder / "given"
    given.mkdir()
    (bench.folder / "output").mkdir()
    words = prepare(bench, given)
    before = fingerprint(given)
    ended = bench.server.run(words, bench.folder, powerless=True)
    judge(ended, statuses)
    after = fingerprint(given)
    check_untouched(before, {name: after.get(name, "removed") for name in before})
    if said not in ended.stdout + ended.stderr:
        raise Lost(f"nothing is said of {said}: {ended.stdout[-200:]}{ended.stderr[-200:]}")


def give_away(path: Path, mode: int) -> Path:
    """Make `path` another's, with this mode."""
    os.chown(path, OTHER, OTHER)
    path.chmod(mode)
    return path


def _runs(bench: Bench, given: Path) -> Path:
    """Copy two runs; the first is given away by the cases."""
    for name in ("one", "two"):
        shutil.copytree(bench.material.model, given / name)
    return given / "one"


def _run_whole(bench: Bench, given: Path, *words: str, mode: int) -> list[Any]:
    run = _runs(bench, given)
    for path in run.rglob("*"):
        give_away(path, mode if path.is_dir() else mode & 0o666)
    give_away(run, mode)
    return [*words, given if words[0] == "runs" else run]


def _run_file(bench: Bench, given: Path, *words: str, name: str) -> list[Any]:
    run = _runs(bench, given)
    give_away(run / name, 0o600)
    return [*words, given if words[0] == "runs" else run]


def _folder(bench: Bench, given: Path, *words: str) -> list[Any]:
    _runs(bench, given)
    give_away(given, 0o700)
    return [*words, given]


def _images(bench: Bench, given: Path, *words: Any, closed: str) -> list[Any]:
    shutil.copytree(bench.material.tiles, given / "tiles" / "sub")
    shutil.copy(bench.material.picture, given / "tiles" / "picture.png")
    give_away(given / "tiles" / closed, 0o700 if closed == "sub" else 0o600)
    return [*words, given / "tiles"]


def _into(bench: Bench, given: Path, *words: Any, mode: int, name: str = "there") -> list[Any]:
    """Return a command that writes into another's folder."""
    give_away(_made(given / "there"), mode)
    return [*_filled(bench, words), "--output", given / name]


def _over(bench: Bench, given: Path, *words: Any, name: str) -> list[Any]:
    """Return a command that writes over another's file, in a folder where each may only remove their own."""
    (_made(given / "there") / name).write_text("another's")
    give_away(given / "there" / name, 0o644)
    give_away(given / "there", 0o1777)
    return [*_filled(bench, words), "--overwrite", "--output", given / "there" / (name if words[0] == "export" else "")]


def _model(bench: Bench, given: Path, *words: Any, name: str) -> list[Any]:
    shutil.copytree(bench.material.model / "model", given / "model")
    give_away(given / "model" / name, 0o600)
    return [words[0], given / "model", *_filled(bench, words[1:])]


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _filled(bench: Bench, words: tuple[Any, ...]) -> list[Any]:
    """Return words with the names of materials replaced by their paths."""
    known = {"HEAD": bench.material.head, "PICTURE": bench.material.picture, "LABELS": bench.material.labels,
             "SETTINGS": bench.material.pretrain, "MODEL": bench.material.model}  # fmt: skip
    return [known.get(word, word) for word in words]


PREDICT = ("predict", "HEAD", "PICTURE", "--device", "cpu", "--precision", "fp32")
CASES: dict[str, tuple[Prepare, tuple[int, ...], str]] = {
    "runs-one-closed": (lambda b, g: _run_whole(b, g, "runs", mode=0o700), (0,), "two"),
    "runs-json-one-closed": (lambda b, g: [*_run_whole(b, g, "runs", mode=0o700), "--json"], (0,), "two"),
    "runs-one-status": (lambda b, g: _run_file(b, g, "runs", name="status.json"), (0,), "two"),
    "runs-all-closed": (lambda b, g: _folder(b, g, "runs"), (1, 2), "given"),
    "stop": (lambda b, g: _run_whole(b, g, "stop", mode=0o755), (1, 2), "one"),
    "resume-readable": (lambda b, g: _run_whole(b, g, "resume", mode=0o755), (0, 1, 2), ""),
    "resume-closed": (lambda b, g: _run_whole(b, g, "resume", mode=0o700), (1, 2), "one"),
    "resume-config": (lambda b, g: _run_file(b, g, "resume", name="config.yaml"), (1, 2), "config.yaml"),
    "resume-status": (lambda b, g: _run_file(b, g, "resume", name="status.json"), (1, 2), "status.json"),
    "pause-status": (lambda b, g: _run_file(b, g, "pause", name="status.json"), (1, 2), "one"),
    "inspect-folder": (lambda b, g: _images(b, g, "inspect", closed="sub"), (0, 3), "sub"),
    "inspect-file": (lambda b, g: _images(b, g, "inspect", closed="picture.png"), (0, 3), "picture.png"),
    "inspect-model": (lambda b, g: _model(b, g, "inspect", name="config.json"), (1, 2, 3), "config.json"),
    "attention-weights": (
        lambda b, g: _model(b, g, "attention", "PICTURE", "--output", "output", name="model.safetensors"),
        (1, 2),
        "model",
    ),
    "predict-into": (lambda b, g: _into(b, g, *PREDICT, mode=0o755), (1, 2), "there"),
    "predict-into-closed": (lambda b, g: _into(b, g, *PREDICT, mode=0o700), (1, 2), "there"),
    "predict-over": (lambda b, g: _over(b, g, *PREDICT, name="picture-prediction.json"), (1, 2), "picture"),
    "export-into": (lambda b, g: _into(b, g, "export", "LABELS", mode=0o755, name="there/labels.csv"), (1, 2), "there"),
    "export-over": (lambda b, g: _over(b, g, "export", "LABELS", name="labels.csv"), (1, 2), "labels.csv"),
    "embed-into": (lambda b, g: _into(b, g, "embed", "MODEL", "PICTURE", mode=0o755, name="there/f.npz"), (1, 2), "there"),
    "pretrain-into": (
        lambda b, g: _into(b, g, "pretrain", "--config", "SETTINGS", mode=0o755, name="there/run"),
        (1, 2),
        "there",
    ),
    "pretrain-home": (lambda b, g: _home(b, "pretrain", "--config", "SETTINGS", "--output", "output/run"), (0, 1, 3), ""),
}
"""How it is prepared, which exit statuses are right, and what must be named."""


def _home(bench: Bench, *words: Any) -> list[Any]:
    """Make the home folder, where tiles are kept, another's."""
    give_away(_made(bench.folder / "home"), 0o755)
    return _filled(bench, words)
