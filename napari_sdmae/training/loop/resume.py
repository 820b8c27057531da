"""Going on with a run: which checkpoint, and putting it into the engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from napari_sdmae.data.image_folder import DataError
from napari_sdmae.runs.events import Warned
from napari_sdmae.runs.folder import RunFolder
from napari_sdmae.training.loop.checkpoints import (
    CorruptCheckpointError,
    TrainingState,
    UnreadableCheckpointError,
    check_checkpoint,
    load_checkpoint,
    publish,
    set_aside,
)
from napari_sdmae.training.loop.engine import SteppingEngine


def find_checkpoint(folder: RunFolder) -> tuple[TrainingState | None, list[Warned]]:
    """Return the state of the newest whole checkpoint, or None where none was ever saved, and warnings about damaged ones.

    Damaged ones newer than it are renamed, never removed: going on writes them again.

    Raises
    ------
    UnreadableCheckpointError
        If there are checkpoints but none is whole, or another version wrote them; nothing is then changed.
    OSError
        If one cannot be read at this moment.
    """
    damaged: dict[Path, CorruptCheckpointError] = {}
    for path in reversed(folder.checkpoints()):
        try:
            state = load_checkpoint(path)[2]
        except CorruptCheckpointError as error:
            damaged[path] = error
        else:
            return state, [_put_by(path, error) for path, error in damaged.items()]
    if damaged:
        raise UnreadableCheckpointError(
            f"no checkpoint in {folder.checkpoints_folder} is whole ({next(iter(damaged.values()))}): put back a copy, "
            "or start a new run in another folder; nothing was changed"
        )
    return None, []


def _put_by(path: Path, error: CorruptCheckpointError) -> Warned:
    """Rename a damaged checkpoint, and return the warning that says so."""
    return Warned("checkpoint", f"Checkpoint {error}; kept as {set_aside(path).name}, going on from the one before")


def forget_lost_best(folder: RunFolder, state: TrainingState) -> Warned | None:
    """Forget the best epoch if its checkpoint is not whole any more, and return the warning that says so.

    What is left of the checkpoint is renamed, never removed.

    Raises
    ------
    UnreadableCheckpointError, OSError
        If another version wrote it, or it cannot be read at this moment.
    """
    if state.best_step in (None, state.step):
        return None
    path = folder.checkpoint(state.best_step)
    try:
        check_checkpoint(path)
    except CorruptCheckpointError as error:
        kept = f"; kept as {set_aside(path).name}" if path.exists() else ""
        state.best_step, state.best_value, state.best_report = None, None, None
        return Warned(
            "checkpoint",
            f"Checkpoint {error}{kept}. It held the best epoch: the head is now selected from step {state.step} on; "
            "that step is measured again",
        )
    return None


def restore(
    engine: SteppingEngine[Any, Any], folder: RunFolder, state: TrainingState, fingerprint: str, published_step: int | None = None
) -> Iterator[Warned]:
    """Bring `engine` to `state`, and warn where it cannot be exactly as before.

    The model of step `published_step` (None: of this step) becomes the run's.

    Raises
    ------
    DataError
        If the tiles are not those the run began with.
    """
    if state.fingerprint != fingerprint:
        raise DataError(
            "the images changed since the run began, so it cannot go on as it would have; put them back, or start a new run"
        )
    if state.step == 0:
        return
    path = folder.checkpoint(state.step)
    engine.restore(*load_checkpoint(path)[:2])
    engine.micro_batch = min(state.micro_batch, engine.micro_batch)  # the settings may have been lowered in the meantime
    if engine.world.rank == 0:
        publish(path if published_step is None else folder.checkpoint(published_step), folder.model)
    if state.threads != torch.get_num_threads():
        yield Warned(
            "threads",
            f"{torch.get_num_threads()} CPU threads instead of {state.threads}: "
            "the rest of the run may differ in the last digits",
        )
        state.threads = torch.get_num_threads()
