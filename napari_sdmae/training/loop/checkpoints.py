"""Checkpoints: all that continues a run exactly, written aside, flushed, then renamed.

A checkpoint folder ``step-000123`` holds a model folder (``model.safetensors``, ``config.json``), ``training.safetensors``
(optimizer and centre) and, written last, ``training.json`` (numbers and strings, with the digest of every file).
Nothing in it is a pickle.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import safetensors.torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from napari_sdmae.config.base import Precision
from napari_sdmae.io.atomic import flush_folder, write_atomically
from napari_sdmae.io.regular_files import open_regular, read_regular
from napari_sdmae.moved import renamed
from napari_sdmae.runs.folder import RunFolder
from napari_sdmae.text.errors import first_problem

MODEL_FILES = ("config.json", "model.safetensors")
KEPT = 2
"""Newest checkpoints that stay, beside the best."""


class CorruptCheckpointError(ValueError):
    """A file of the checkpoint is missing, cut or changed."""


class UnreadableCheckpointError(ValueError):
    """The checkpoints may be whole, yet this program cannot go on from them; the message says why and what to do."""


class TrainingState(BaseModel):
    """What a run remembers beside tensors. Data order, masks and crops are functions of seed, epoch and index: not here.

    `sums` holds running sums of the metrics, since the last log and since the epoch began, each with its number of steps
    under ``steps``. Totals are compared among epochs of one weight p only: while p grows, so does the total.
    `best_value` and `best_report` are what the best epoch of a fine-tuning run gave on the validation images.
    `epochs` is the number that was fitted to a time; None where the settings give it.
    `open_epoch`: the run ended while the epoch that ends at `step` was being validated; its sums are still here.
    """

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")

    step: int = 0
    micro_batch: int
    precision: Precision
    threads: int
    fingerprint: str
    epochs: int | None = None
    best_step: int | None = None
    best_loss: float = float("inf")
    best_p: float = 0.0
    best_value: float | None = None
    best_report: dict[str, Any] | None = None
    open_epoch: bool = False
    sums: dict[str, dict[str, float]] = {}
    warned: list[str] = []
    digests: dict[str, str] = {}


SaveModel = Callable[[Path], None]
"""Writes the files of a model, :data:`MODEL_FILES`, into a folder."""


def save_checkpoint(
    folder: RunFolder, save_model: SaveModel, tensors: dict[str, Tensor], state: TrainingState, published_step: int | None = None
) -> Path:
    """Write the checkpoint of ``state.step``, publish the model of `published_step`, and drop what is not needed any more.

    Parameters
    ----------
    folder
        The run folder.
    save_model
        Writes the model.
    tensors
        State of optimizer and loss.
    state
        Everything else.
    published_step
        Step of a checkpoint whose model the run shows; None: this one's.

    Raises
    ------
    OSError
        If it cannot be written; what was there before is untouched, and the half-written rest is removed.
    RunFolderError
        If a link lies where the files go, or another process took the run over.
    """
    folder.check_owner()
    folder.check_kinds()
    path = folder.checkpoint(state.step)
    if not path.exists():
        aside = folder.checkpoints_folder / f".{path.name}.{folder.number}.tmp"  # its number: no other job's
        try:
            folder.checkpoints_folder.mkdir(exist_ok=True)
            _write(aside, save_model, tensors, state)
            folder.check_owner()
            aside.replace(path)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        flush_folder(folder.checkpoints_folder)
    publish(path if published_step is None else folder.checkpoint(published_step), folder.model)
    _thin_out(folder, {state.best_step} if published_step is None else {state.best_step, *_best_steps(folder)})
    return path


def _write(aside: Path, save_model: SaveModel, tensors: dict[str, Tensor], state: TrainingState) -> None:
    """Write all files of a checkpoint into the folder `aside`."""
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    save_model(aside)
    write_atomically(aside / "training.safetensors", safetensors.torch.save(tensors))
    digests = {file.name: _digest(file) for file in sorted(aside.iterdir())}
    whole = state.model_copy(update={"digests": digests})
    write_atomically(aside / "training.json", whole.model_dump_json(indent=1).encode())


def publish(checkpoint: Path, model: Path) -> None:
    """Make the checkpoint's model the run's own: linked, so that it costs no space, or copied where links are not known."""
    model.mkdir(exist_ok=True)
    for name in MODEL_FILES:
        if _is_same(model / name, checkpoint / name):
            continue  # renaming one link of a file over another does nothing, and would leave both
        aside = model / f".{name}.tmp"
        aside.unlink(missing_ok=True)
        try:
            _link_or_copy(checkpoint / name, aside)
            aside.replace(model / name)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise


def _link_or_copy(file: Path, path: Path) -> None:
    try:
        path.hardlink_to(file)
    except OSError:
        shutil.copyfile(file, path)
        with path.open("rb+") as copy:
            os.fsync(copy.fileno())


def _is_same(one: Path, other: Path) -> bool:
    """Return whether both are one file under two names, and none merely points to the other."""
    try:
        return os.path.samestat(one.lstat(), other.lstat())
    except FileNotFoundError:
        return False


def _thin_out(folder: RunFolder, best_steps: set[int | None]) -> None:
    """Remove all checkpoints but the newest ones and the best."""
    for path in folder.checkpoints()[:-KEPT]:
        if path not in [folder.checkpoint(step or 0) for step in best_steps]:
            remove_checkpoint(path)


def _best_steps(folder: RunFolder) -> set[int | None]:
    """Return the steps whose models the newest checkpoints would show: going on from one of these must find its best."""
    best: set[int | None] = set()
    for path in folder.checkpoints()[-KEPT:]:
        with suppress(CorruptCheckpointError, UnreadableCheckpointError, OSError):
            best.add(_read_state(path).best_step)
    return best


def remove_checkpoint(path: Path) -> None:
    """Remove a checkpoint, under another name first, so that a half-removed one is never taken for whole."""
    aside = path.with_name(f".{path.name}.removed.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    path.replace(aside)
    shutil.rmtree(aside, ignore_errors=True)


def set_aside(path: Path) -> Path:
    """Rename a damaged checkpoint to ``….damaged``, where nothing looks for it and nothing removes it; return its new place."""
    names = (path.with_name(f"{path.name}.damaged{number or ''}") for number in count())
    return path.replace(next(name for name in names if not name.exists()))


def check_checkpoint(path: Path) -> TrainingState:
    """Return the state of a checkpoint whose files are all as they were written; errors as of :func:`load_checkpoint`."""
    try:
        state = _read_state(path)
        changed = [name for name, digest in state.digests.items() if _digest(path / name) != digest]
    except FileNotFoundError as error:
        raise CorruptCheckpointError(f"{path.name}: {Path(error.filename).name} is missing") from error
    if changed:
        raise CorruptCheckpointError(f"{path.name}: {changed[0]} is not as it was written")
    return state


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Tensor], TrainingState]:
    """Return the model's tensors, the training tensors and the state of a checkpoint.

    Raises
    ------
    CorruptCheckpointError
        If a file is missing, cut or changed; the message says which.
    UnreadableCheckpointError
        If another version of this program wrote it.
    OSError
        If the disk or the network share does not answer: that says nothing about the checkpoint.
    """
    state = check_checkpoint(path)
    model = safetensors.torch.load_file(path / "model.safetensors")
    return model, safetensors.torch.load_file(path / "training.safetensors"), state


def _read_state(path: Path) -> TrainingState:
    """Return the state of a checkpoint; text that is cut is damage, text that is whole but unknown is another version's."""
    try:
        return TrainingState.model_validate_json(read_regular(path / "training.json"))
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            raise CorruptCheckpointError(f"{path.name}: training.json is not as it was written") from error
        raise UnreadableCheckpointError(
            f"{path}: training.json was written by another version of napari-sdmae ({first_problem(error)}); "
            "resume with that version. Nothing was changed"
        ) from error


def _digest(file: Path) -> str:
    """Return the SHA-256 of a file."""
    with os.fdopen(open_regular(file, os.O_RDONLY), "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


__getattr__ = renamed(__name__, DamagedCheckpoint="CorruptCheckpointError", UnreadableCheckpoint="UnreadableCheckpointError")
