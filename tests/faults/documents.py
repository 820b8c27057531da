"""Hostile checkpoints, settings, tables and label files: each is given to the commands that read it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from faults import texts, weights
from faults.campaign import Bench, Case, one_of_each
from faults.material import Material
from faults.oracle import Lost, check_untouched, complaint, fingerprint
from faults.zarrs import zarrs

Lay = Callable[[Bench, Path], list[list[Any]]]
"""Lays hostile files out in a folder; returns the commands that read them."""


def missing() -> str:
    """Return what this machine lacks."""
    return ""


def cases(material: Material, seed: int, name: str = "") -> Iterator[Case]:
    """Yield all cases; those of one seed are always the same."""
    rng = np.random.default_rng(seed)
    for kind, name, lay in _all(material, rng):
        yield Case(f"documents/{kind}/{name}", kind, partial(_attempt, lay=lay))


def sample(material: Material, seed: int) -> Iterator[Case]:
    """Yield one case of each kind."""
    return one_of_each(cases(material, seed))


def _all(material: Material, rng: np.random.Generator) -> Iterator[tuple[str, str, Lay]]:
    model = material.model / "model"
    sound, config = (model / "model.safetensors").read_bytes(), json.loads((model / "config.json").read_text())
    groups: list[tuple[str, Iterator[tuple[str, bytes]], Callable[..., Lay]]] = [
        ("pickles", weights.pickles(rng), partial(_checkpoint, suffix=".pth")),
        ("safetensors", weights.safetensors(sound), _weights),
        ("damaged", weights.damaged(sound, rng), _weights),
        ("numbers", weights.numbers(sound), _weights),
        ("configs", weights.configs(config), _config),
        ("pretrain-yaml", texts.settings(material.pretrain.read_text()), partial(_settings, command="pretrain")),
        ("finetune-yaml", texts.settings(material.finetune.read_text()), partial(_settings, command="finetune")),
        ("ablate-yaml", texts.settings(material.ablation.read_text()), partial(_settings, command="ablate")),
        ("run-yaml", texts.settings(material.pretrain.read_text()), _run_config),
        ("status", texts.statuses(json.loads((material.model / "status.json").read_text())), _status),
        ("mask-table", texts.tables("mask"), partial(_table, task="segmentation")),
        ("class-table", texts.tables("label"), partial(_table, task="classification")),
        ("notes-table", texts.tables("slide"), _notes),
        ("classes", texts.class_files(), _classes),
        ("geojson", texts.geojson(), partial(_labels, suffix=".geojson")),
        ("coco-labels", texts.coco(), partial(_labels, suffix=".json")),
        ("coco", texts.coco(), _coco),
        ("aperio", texts.outlines(), _aperio),
    ]
    for kind, files, lay in groups:
        for name, data in files:
            yield kind, name, lay(name=name, data=data)
    for name, build in zarrs(material.labels):
        yield "zarr", name, partial(_zarr, build=build)


def _attempt(bench: Bench, lay: Lay) -> None:
    """Let the commands read hostile files: used or refused in words, and nothing else."""
    given = bench.folder / "given"
    given.mkdir()
    commands = lay(bench, given)
    before = fingerprint(given)
    ended = bench.server.run_all(commands, bench.folder)
    reasons = [f"{words[0]}: {reason}" for words, one in zip(commands, ended, strict=True) if (reason := complaint(one))]
    if (bench.folder / "canary").exists() or (given / "canary").exists():
        reasons.append("code in the file was executed")
    check_untouched(before, fingerprint(given))
    if reasons:
        raise Lost("; ".join(reasons))


def _readers(bench: Bench, model: Path) -> list[list[Any]]:
    picture = bench.material.picture
    return [
        ["inspect", model],
        ["attention", model, picture, "--output", "output/attention", "--device", "cpu"],
        ["embed", model, picture, "--output", "output/features.npz", "--device", "cpu", "--precision", "fp32"],
        ["convert", model, "output/converted"],
    ]


def _checkpoint(name: str, data: bytes, suffix: str) -> Lay:
    def lay(bench: Bench, given: Path) -> list[list[Any]]:
        (given / f"checkpoint{suffix}").write_bytes(data)
        return [["convert", given / f"checkpoint{suffix}", "output/model"], ["inspect", given / f"checkpoint{suffix}"]]

    return lay


def _weights(name: str, data: bytes) -> Lay:
    def lay(bench: Bench, given: Path) -> list[list[Any]]:
        weights.copy_of(bench.material.model / "model", given / "model", weights=data)
        (given / "alone.safetensors").write_bytes(data)
        return [*_readers(bench, given / "model"), ["convert", given / "alone.safetensors", "output/alone"]]

    return lay


def _config(name: str, data: bytes) -> Lay:
    def lay(bench: Bench, given: Path) -> list[list[Any]]:
        weights.copy_of(bench.material.model / "model", given / "model", config=data)
        weights.copy_of(bench.material.head / "model", given / "head", config=data)
        picture = bench.material.picture
        return [
            *_readers(bench, given / "model"),
            ["predict", given / "head", picture, "--output", "output/predict", "--device", "cpu", "--precision", "fp32"],
        ]

    return lay


def _settings(name: str, data: bytes, command: str) -> Lay:
    def lay(bench: Bench, given: Path) -> list[list[Any]]:
        (given / "settings.yaml").write_bytes(data)
        more = ["--list"] if command == "ablate" else ["--output", "output/run"]
        return [[command, "--config", given / "settings.yaml", *more]]

    return lay


def _run_config(name: str, data: bytes) -> Lay:
    def lay(bench: Bench, given: Path) -> list[list[Any]]:
        run = _run_folder(bench, bench.folder / "output", "config.yaml", data)
        return [["resume", run], ["runs", bench.folder / "output"]]

    return lay


def _status(name: str, data: bytes) -> Lay:
    def lay(bench: Bench, given: Path) -> list[list[Any]]:
        run = _run_folder(bench, given, "status.json", data)
        return [["runs", given], ["runs", given, "--json"], ["stop", run]]

    return lay


def _run_folder(bench: Bench, given: Path, name: str, data: bytes) -> Path:
    (given / "run").mkdir(parents=True)
    for kept in ("config.yaml", "status.json"):
        shutil.copy(bench.material.model / kept, given / "run" / kept)
    (given / "run" / name).write_bytes(data)
    return given / "run"


def _table(name: str, data: bytes, task: str) -> Lay:
    def lay(bench: Bench, given: Path) -> list[list[Any]]:
        shutil.copytree(bench.material.labelled, given, dirs_exist_ok=True)
        (given / "table.csv").write_bytes(data)
        return [
            [
                "finetune",
                "--task",
                task,
                "--data",
                given / "table.csv",
                "--output",
                "output/run",
                "--epochs",
                "1",
                "--device",
                "cpu",
            ]
        ]

    return lay


def _notes(name: str, data: bytes) -> Lay:
    def lay(bench: Bench, given: Path) -> list[list[Any]]:
        shutil.copytree(bench.material.labelled, given, dirs_exist_ok=True)
        (given / "slides.csv").write_bytes(data)
        return [["evaluate", bench.material.head, "--data", given, "--device", "cpu"]]

    return lay


def _classes(name: str, data: bytes) -> Lay:
    def lay(bench: Bench, given: Path) -> list[list[Any]]:
        shutil.copytree(bench.material.labelled, given / "data")
        (given / "data" / "classes.json").write_bytes(data)
        shutil.copy(bench.material.labels, given / "labels.png")
        (given / "labels.classes.json").write_bytes(data)
        evaluate = ["evaluate", bench.material.head, "--data", given / "data", "--device", "cpu"]
        return [
            evaluate,
            *([["export", given / "labels.png", "--output", f"output/labels.{end}"] for end in ("csv", "geojson", "ome.tif")]),
        ]

    return lay


def _labels(name: str, data: bytes, suffix: str) -> Lay:
    def lay(bench: Bench, given: Path) -> list[list[Any]]:
        path = given / f"labels{suffix}{'.gz' if name.endswith('.gz') else ''}"
        path.write_bytes(data)
        return [["export", path, "--output", f"output/labels.{end}"] for end in ("png", "csv")]

    return lay


def _coco(name: str, data: bytes) -> Lay:
    def lay(bench: Bench, given: Path) -> list[list[Any]]:
        (given / "images").mkdir()
        first = next((bench.material.labelled / "images").iterdir())
        shutil.copy(first, given / "images" / "a.png")
        (given / "annotations.json").write_bytes(data)
        return [["finetune", "--config", bench.material.boxes, "--data", given, "--output", "output/run"]]

    return lay


def _aperio(name: str, data: bytes) -> Lay:
    def lay(bench: Bench, given: Path) -> list[list[Any]]:
        shutil.copytree(bench.material.nuclei, given, dirs_exist_ok=True)
        for path in sorted((given / "labels").iterdir())[:1]:
            path.unlink()
            path.with_suffix(".xml").write_bytes(data)
        rows = [
            f"images/{path.name},labels/{path.stem}{'.png' if number else '.xml'}"
            for number, path in enumerate(sorted((given / "images").iterdir()))
        ]
        (given / "table.csv").write_text("\n".join(["file,mask", *rows]))
        return [["evaluate", bench.material.nuclei_head, "--data", given / "table.csv", "--device", "cpu"]]

    return lay


def _zarr(bench: Bench, given: Path, build: Callable[[Path], None]) -> list[list[Any]]:
    build(given / "labels.ome.zarr")
    return [["export", given / "labels.ome.zarr", "--output", f"output/labels.{end}"] for end in ("png", "csv")]
