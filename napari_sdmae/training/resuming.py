"""Going on with a run: which checkpoint, and putting it into the engine."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from napari_sdmae.data.sources import DataError
from napari_sdmae.training.checkpoints import DamagedCheckpoint, TrainingState, load_checkpoint, publish, remove_checkpoint
from napari_sdmae.training.engine import Engine
from napari_sdmae.training.events import Warned
from napari_sdmae.training.run_folder import RunFolder


def find_checkpoint(folder: RunFolder) -> tuple[TrainingState | None, list[Warned]]:
    """Return the state of the newest checkpoint that can be read, or None to begin anew, and warnings about others.

    Damaged ones are removed: going on writes them again, with the same content.
    """
    warnings: list[Warned] = []
    for path in reversed(folder.checkpoints()):
        try:
            state = load_checkpoint(path)[2]
        except DamagedCheckpoint as error:
            warnings.append(Warned("checkpoint", f"Checkpoint {error}; going on from the one before"))
            remove_checkpoint(path)
        else:
            return state, warnings
    return None, warnings


def restore(engine: Engine, folder: RunFolder, state: TrainingState, fingerprint: str) -> Iterator[Warned]:
    """Bring `engine` to `state`, and warn where it cannot be exactly as before.

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
    engine.micro_batch = state.micro_batch
    if engine.world.rank == 0:
        publish(path, folder.model)
    if state.threads != torch.get_num_threads():
        yield Warned(
            "threads",
            f"{torch.get_num_threads()} CPU threads instead of {state.threads}: "
            "the rest of the run may differ in the last digits",
        )
        state.threads = torch.get_num_threads()
