"""What a run of either kind begins with: the requests, the folder, the processes, the environment."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import pandas as pd
import torch

from napari_sdmae.config.base import Precision
from napari_sdmae.data.image_folder import DataError
from napari_sdmae.devices.precision import select_precision
from napari_sdmae.devices.select import device_name, select_device
from napari_sdmae.humanize import several
from napari_sdmae.io.atomic import write_atomically
from napari_sdmae.runs.environment import write_command, write_environment
from napari_sdmae.runs.events import Ended, Event, Preparing, Warned
from napari_sdmae.runs.folder import Request, RunConfig, RunFolder
from napari_sdmae.runs.recorder import record
from napari_sdmae.text.tables import table_bytes
from napari_sdmae.training.loop.checkpoints import TrainingState
from napari_sdmae.training.loop.loop import ENDINGS
from napari_sdmae.training.loop.model_selection import StopPoll
from napari_sdmae.training.loop.processes import SEVERITY, Processes, is_first_process, launch
from napari_sdmae.training.loop.resume import find_checkpoint
from napari_sdmae.training.loop.tensorboard import check_tensorboard, write_scalars

Data = TypeVar("Data")


@dataclass(frozen=True)
class Work(Generic[Data]):
    """What one kind of training does that another does not.

    Attributes
    ----------
    check
        Raises an error for what is known to fail, before the folder is touched.
    claim
        Makes the folder this job's own.
    prepare
        Reads the data, in the first process alone; returns them, or the request that came in the meantime.
    prepared
        What `prepare` makes, for people: ``tiles``.
    train
        Trains in every process; it is given what `prepare` returned in its own.
    """

    check: Callable[[], None]
    claim: Callable[[], None]
    prepare: Callable[[StopPoll], Generator[Event, None, tuple[Data | None, Request | None]]]
    prepared: str
    train: Callable[[Processes, Data | None, StopPoll], Iterator[Event]]


def run_job(config: RunConfig, work: Work[Data], folder: RunFolder, stop: StopPoll | None) -> Iterator[Event]:
    """Yield the events of `work`, recorded in `folder`; of all processes but the first the last event only.

    `work` is told what `stop` or the run folder's control file asks for; what was asked for once is not forgotten. It ends with
    :class:`TakenOverError` where another process took the run over.
    """
    most_severe: Request | None = None

    def asked() -> Request | None:
        nonlocal most_severe
        folder.check_owner()
        own = stop() if stop is not None else None
        most_severe = max(most_severe, own or folder.asked(), key=SEVERITY.index)
        return most_severe

    events = _events(config, work, folder, asked)
    if is_first_process():
        recorded = record(events, folder)
        yield from write_scalars(recorded, folder.tensorboard) if config.tensorboard else recorded
    else:
        yield from (event for event in events if isinstance(event, Ended))


def _events(config: RunConfig, work: Work[Data], folder: RunFolder, asked: StopPoll) -> Iterator[Event]:
    """Yield the events of the whole run; what cannot work is refused before the folder is touched, as far as it can be known."""
    device, reason = select_device(config.device)
    work.check()
    if config.tensorboard:
        check_tensorboard()
    first = is_first_process()
    if first:
        work.claim()
    yield Preparing(0, 0, reason)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    world = launch(device)
    data, request = (yield from work.prepare(asked)) if first else (None, None)
    request = world.agree(request)
    if request is not None:
        yield ended_while_preparing(request, folder, work.prepared)
        return
    yield from work.train(world, data, asked)


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


@dataclass(frozen=True)
class Beginning:
    """Where a run begins: the state to go on from, None for a new run, and in which precision, and why."""

    saved: TrainingState | None
    precision: Precision
    reason: str

    def state(self, micro_batch: int, fingerprint: str) -> TrainingState:
        """Return the state to go on from, or that of a new run on data of this `fingerprint`."""
        threads = torch.get_num_threads()
        return self.saved or TrainingState(
            micro_batch=micro_batch, precision=self.precision, threads=threads, fingerprint=fingerprint
        )


def beginning(asked: Precision, folder: RunFolder, world: Processes) -> Generator[Event, None, Beginning]:
    """Return where a run begins: with the newest sound checkpoint, and the precision of its beginning when it goes on."""
    saved, damaged = world.share(find_checkpoint(folder) if world.rank == 0 else (None, []))
    yield from damaged
    precision, reason = world.share(select_precision(saved.precision if saved else asked, world.device, training=True))
    yield Preparing(1, 1, reason)
    return Beginning(saved, precision, reason)


def fitting_batch(batch: int, tiles: int, processes: int, kind: str = "tile") -> tuple[int, list[Warned]]:
    """Return the tiles of a step, fewer than `batch` where there are not as many, and a warning then.

    Raises
    ------
    DataError
        If there are fewer tiles than processes.
    ValueError
        If the batch cannot be shared evenly by the processes.
    """
    if tiles < processes:
        raise DataError(f"{several(tiles, kind, f'{kind}s')} for {processes} processes: give more images")
    if batch % processes:
        raise ValueError(f"batch_size {batch} cannot be shared by {processes} processes: choose a multiple of {processes}")
    if batch <= tiles:
        return batch, []
    fitting = tiles // processes * processes
    return fitting, [Warned("batch", f"Only {several(tiles, kind, f'{kind}s')}: the batch is {fitting} instead of {batch}")]


def warmup_warnings(epochs: int, warmup_epochs: float) -> list[Warned]:
    """Return a warning if a run is over before its learning rate is warm."""
    if epochs >= warmup_epochs:
        return []
    message = (
        f"The run of {epochs} epochs ends within the warm-up of the learning rate (optimizer.warmup_epochs "
        f"{warmup_epochs:g}): give more epochs or lower warmup_epochs"
    )
    return [Warned("schedule", message)]


def begin_records(folder: RunFolder, world: Processes, state: TrainingState, begun: Beginning) -> None:
    """Cut what was logged after the state to go on from, and write what the run runs on."""
    if world.rank:
        return
    folder.cut_metrics(state.step, open_epoch=state.open_epoch)
    write_environment(
        folder,
        torch_build=torch.__version__,
        device=device_name(world.device),
        precision=begun.precision,
        precision_reason=begun.reason,
        threads=torch.get_num_threads(),
        processes=world.size,
        data_fingerprint=state.fingerprint,
    )


def report_unusable(unusable: Sequence[tuple[str, str]], folder: RunFolder) -> Warned:
    """Write quarantine.csv and return a warning that names its size."""
    write_atomically(folder.quarantine, table_bytes(pd.DataFrame(unusable, columns=["file", "reason"], dtype=object)))
    return Warned("quarantine", f"{several(len(unusable), 'file', 'files')} could not be used, see {folder.quarantine.name}")
