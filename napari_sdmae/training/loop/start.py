"""What a run of either kind begins with: the requests, the folder, the processes, the environment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pandas as pd
import torch

from napari_sdmae.config.base import Precision
from napari_sdmae.devices.precision import PrecisionChoice, select_precision
from napari_sdmae.devices.select import device_name
from napari_sdmae.io.atomic import write_atomically
from napari_sdmae.runs.describe import counted
from napari_sdmae.runs.environment import write_command, write_environment
from napari_sdmae.runs.events import Ended, Event, Warned
from napari_sdmae.runs.folder import Request, RunConfig, RunFolder
from napari_sdmae.runs.recorder import record
from napari_sdmae.text.tables import table_bytes
from napari_sdmae.training.loop.checkpoints import TrainingState
from napari_sdmae.training.loop.loop import ENDINGS
from napari_sdmae.training.loop.model_selection import Asked
from napari_sdmae.training.loop.processes import World, is_first_process
from napari_sdmae.training.loop.resume import find_checkpoint
from napari_sdmae.training.loop.tensorboard import write_scalars

GRAVITY: tuple[Request | None, ...] = (None, "stop", "pause", "cancel")


def run_job(
    work: Callable[[Asked], Iterator[Event]], folder: RunFolder, stop: Asked | None, *, tensorboard: bool
) -> Iterator[Event]:
    """Yield the events of `work`, recorded in `folder`; of all processes but the first the last event only.

    `work` is told what `stop` or the run folder's control file asks for; what was asked for once is not forgotten. It ends with
    :class:`TakenOver` where another process took the run over.
    """
    gravest: Request | None = None

    def asked() -> Request | None:
        nonlocal gravest
        folder.check_owner()
        own = stop() if stop is not None else None
        gravest = max(gravest, own or folder.asked(), key=GRAVITY.index)
        return gravest

    events = work(asked)
    if is_first_process():
        recorded = record(events, folder)
        yield from write_scalars(recorded, folder.tensorboard) if tensorboard else recorded
    else:
        yield from (event for event in events if isinstance(event, Ended))


def claim_folder(config: RunConfig, folder: RunFolder, *, resume: bool, take_over: bool) -> None:
    """Make `folder` this job's own, see :meth:`RunFolder.claim`; clear what a killed job left, note the command of a new run."""
    folder.claim(config, resume=resume, take_over=take_over)
    folder.remove_leftovers()
    if not resume:
        write_command(folder)


def ended_while_preparing(request: Request, folder: RunFolder, what: str) -> Ended:
    """Return the ending of a run that was asked to end before its first step; `what`: what was being prepared."""
    step = folder.last_saved_step()
    kept = f"the checkpoint of step {step} is kept" if step else "nothing was saved yet"
    return Ended(ENDINGS[request], step, f"while preparing the {what}; {kept}")


def saved_state(folder: RunFolder, world: World) -> tuple[TrainingState | None, list[Warned]]:
    """Return the state to go on from, None for a new run, and warnings about damaged checkpoints."""
    return world.share(find_checkpoint(folder) if world.rank == 0 else (None, []))


def agreed_precision(saved: TrainingState | None, asked: Precision, world: World) -> PrecisionChoice:
    """Return the precision of the run, that of its beginning when it goes on, and why."""
    return world.share(select_precision(saved.precision if saved else asked, world.device, training=True))


def begin_records(folder: RunFolder, world: World, state: TrainingState, precision: Precision, reason: str) -> None:
    """Cut what was logged after the state to go on from, and write what the run runs on."""
    if world.rank:
        return
    folder.cut_metrics(state.step, open_epoch=state.open_epoch)
    write_environment(
        folder,
        torch_build=torch.__version__,
        device=device_name(world.device),
        precision=precision,
        precision_reason=reason,
        threads=torch.get_num_threads(),
        processes=world.size,
        data_fingerprint=state.fingerprint,
    )


def report_unusable(unusable: Sequence[tuple[str, str]], folder: RunFolder) -> Warned:
    """Write quarantine.csv and return a warning that names its size."""
    write_atomically(folder.quarantine, table_bytes(pd.DataFrame(unusable, columns=["file", "reason"], dtype=object)))
    return Warned("quarantine", f"{counted(len(unusable), 'file')} could not be used, see {folder.quarantine.name}")
