"""The job behind a widget that trains: the public command, written out, started so that it outlives napari."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import platformdirs
import psutil

from napari_sdmae.config.base import Settings, merge
from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.humanize import slug
from napari_sdmae.widgets.base.folders import free_folder

NICENESS = 5  # the job leaves the machine to the viewer when both want it


def pretrain_command(config: PretrainConfig, preset: str, run: Path) -> list[str]:
    """Return the command that trains with `config` into `run`: the preset, and a flag for every setting that differs from it."""
    base = PretrainConfig.from_preset(preset, data=config.data)
    return [*_program(), "pretrain", "--data", str(config.data), *_ending(run, preset, base, config)]


def finetune_command(config: FinetuneConfig, preset: str, run: Path, changes: dict[str, Any]) -> list[str]:
    """Return the command that fine-tunes with `config` into `run`; `changes` is what the preset sets, if one is named."""
    given = {"task": config.task, "data": config.data, "model": config.model}
    base = FinetuneConfig.model_validate(merge(changes, given | {"model": "any"})).model_copy(update=given)
    flags = ["--task", config.task, "--data", str(config.data), "--model", config.model]
    return [*_program(), "finetune", *flags, *_ending(run, preset, base, config)]


def _program() -> list[str]:
    return [sys.executable, "-m", "napari_sdmae"]


def _ending(run: Path, preset: str, base: Settings, config: Settings) -> list[str]:
    changed = differences(base.model_dump(), config.model_dump())
    named = ["--preset", preset] if preset else []
    return ["--output", str(run), *named, *(word for key, value in changed for word in _flag(key, value))]


def resume_command(run: Path, *, take_over: bool = False) -> list[str]:
    """Return the command that goes on with the run in `run`; `take_over`: even if its job might live elsewhere."""
    return [*_program(), "resume", str(run), *(["--take-over"] if take_over else [])]


def differences(base: dict[str, Any], other: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted name and value of what differs in `other` from `base`."""
    for name, value in other.items():
        if isinstance(value, dict):
            yield from differences(base[name], value, f"{prefix}{name}.")
        elif value != base[name]:
            yield f"{prefix}{name}", value


def _flag(key: str, value: Any) -> list[str]:
    *parents, name = key.replace("_", "-").split(".")
    if isinstance(value, bool):
        return ["--" + ".".join([*parents, name if value else f"no-{name}"])]
    values = value if isinstance(value, tuple | list) else [value]
    return ["--" + ".".join([*parents, name]), *(str(item) for item in values)]


def new_run_folder(root: Path, source: Path | None, day: date) -> Path:
    """Return a folder in `root` that does not exist yet, named by date and source."""
    return free_folder(root, f"{day.isoformat()}-{slug(source.name if source else '', 'run')}", "run")


def console_file(run: Path) -> Path:
    """Return the file for what the job of `run` prints; outside the run folder, which the job wants to find empty."""
    key = hashlib.sha256(str(run.absolute()).encode()).hexdigest()[:8]
    return platformdirs.user_log_path("napari-sdmae", appauthor=False) / f"{run.name}-{key}.txt"


def launch(command: list[str], run: Path) -> subprocess.Popen[bytes]:
    """Start `command` for `run` in a session of its own, so that it survives the viewer, with a little less priority."""
    console = console_file(run)
    console.parent.mkdir(parents=True, exist_ok=True)
    detached: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        detached = {
            "creationflags": subprocess.CREATE_NO_WINDOW
            | subprocess.CREATE_NEW_PROCESS_GROUP
            | subprocess.BELOW_NORMAL_PRIORITY_CLASS
        }
    with console.open("wb") as output:
        process = subprocess.Popen(
            command, env=_environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, **detached
        )
    if sys.platform != "win32":
        _be_nice(process.pid)
    return process


def _environment() -> dict[str, str]:
    # QT_PLUGIN_PATH, MPLBACKEND and the like belong to the viewer; Python's own output must reach the console file at once
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("QT_", "MPLBACKEND"))}
    return mine | {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}


def _be_nice(pid: int) -> None:
    try:
        process = psutil.Process(pid)
        process.nice(min(19, int(process.nice()) + NICENESS))
    except psutil.Error:
        pass  # it has ended already: the monitor says so
