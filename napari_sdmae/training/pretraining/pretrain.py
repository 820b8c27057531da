"""Pre-training as a sequence of events: prepare the tiles, restore what was saved, step by step to the end."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path

import torch

from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.data.batches.crops import typical_edge
from napari_sdmae.data.image_folder import missing_folders, require_images
from napari_sdmae.data.tiles.cache import TileCache, open_folder, prepare_tiles
from napari_sdmae.losses.sdmae import SDMAELoss
from napari_sdmae.models.masking import num_masked
from napari_sdmae.models.sdmae import SDMAE
from napari_sdmae.runs.events import Event, Preparing, Warned
from napari_sdmae.runs.folder import Request, RunFolder
from napari_sdmae.training.loop.loop import Training
from napari_sdmae.training.loop.model_selection import LowestLoss, StopPoll
from napari_sdmae.training.loop.processes import Processes
from napari_sdmae.training.loop.resume import restore
from napari_sdmae.training.loop.schedules import Schedule
from napari_sdmae.training.loop.start import (
    Work,
    begin_records,
    beginning,
    claim_folder,
    fitting_batch,
    report_unusable,
    run_job,
    warmup_warnings,
)
from napari_sdmae.training.pretraining.engine import Engine
from napari_sdmae.training.pretraining.previews import Previewer


def pretrain(
    config: PretrainConfig, *, run: Path, stop: StopPoll | None = None, resume: bool = False, take_over: bool = False
) -> Iterator[Event]:
    """Pre-train an SD-MAE; yield what happens, the last event being :class:`~napari_sdmae.runs.events.Ended`.

    Everything is written into the run folder, see :mod:`napari_sdmae.runs.folder`. A run that was paused, stopped
    or killed and is resumed ends with the very model it would have had, bit for bit on the CPU in fp32.

    Parameters
    ----------
    config
        All settings. When resuming, those the run began with.
    run
        The run folder: new or empty, or with `resume` one that holds a run.
    stop
        Asked once per step: ``"stop"`` saves and keeps the model, ``"pause"`` saves, ``"cancel"`` ends without saving.
        The run folder's control file is followed as well.
    resume
        Go on with the run in the folder.
    take_over
        Also where nobody can tell whether its job, on another host, still lives; that one ends when it finds the run taken.

    Yields
    ------
    Event
        Small frozen events. Under torchrun all processes but the first yield the last one only.

    Raises
    ------
    RunFolderError
        If the folder cannot be used; it is then untouched. Or if another process took the run over (``TakenOverError``).
    DeviceError, ValueError
        If the settings do not fit the machine or each other.
    DataError
        If the images cannot be used.
    """
    folder = RunFolder(run)
    config = config.model_copy(update={"data": config.data.expanduser().absolute()})
    work = Work(
        partial(check_model, config),
        partial(_claim, config, folder, resume=resume, take_over=take_over),
        partial(_prepare, config),
        "tiles",
        partial(_train, config, folder),
    )
    yield from run_job(config, work, folder, stop)


def _claim(config: PretrainConfig, folder: RunFolder, *, resume: bool, take_over: bool) -> None:
    """Make the folder this process's own; a new run without images is refused before, so that the name stays free."""
    if not resume:
        folder.require_free()
        require_images(config.data, config.tiles.leave_out)
    claim_folder(config, folder, resume=resume, take_over=take_over)


def check_model(config: PretrainConfig) -> None:
    """Raise ValueError if model, mask ratio and loss do not fit together; builds the model without its weights."""
    num_masked(config.mask_ratio, config.model.grid**2)
    with torch.device("meta"):
        SDMAE(config.model)
        SDMAELoss(config.loss, config.model.head_outputs)


def _prepare(config: PretrainConfig, asked: StopPoll) -> Generator[Event, None, tuple[TileCache | None, Request | None]]:
    """List the images and decode the tiles; return them, or the request that came in the meantime."""
    steps = prepare_tiles(config.data, config.tiles)
    while True:
        try:
            progress = next(steps)
        except StopIteration as end:
            return end.value, None
        yield Preparing(progress.done, progress.total, progress.message)
        if (request := asked()) is not None:
            return None, request


def _train(
    config: PretrainConfig, folder: RunFolder, world: Processes, prepared: TileCache | None, asked: StopPoll
) -> Iterator[Event]:
    """Put the parts together, go on from the newest checkpoint, and train."""
    place = world.share(prepared.folder if prepared else Path())
    cache = prepared or open_folder(place, config.tiles)
    if world.rank == 0:
        yield from _data_warnings(config, folder, cache)
    schedule, warnings = plan(config, len(cache.tiles), world.size)
    yield from warnings
    begun = yield from beginning(config.precision, folder, world)
    metadata = {
        "target_normalisation": config.loss.target_normalisation,
        "mpp": _scale_seen(cache, config),
        "provenance": {"run": folder.path.name, "data": cache.fingerprint},
    }
    engine = Engine(config, cache, schedule, world, begun.precision, metadata)
    state = begun.state(engine.micro_batch, cache.fingerprint)
    yield from restore(engine, folder, state, cache.fingerprint)
    begin_records(folder, world, state, begun)
    yield from Training(engine, folder, state, Previewer(engine, cache), LowestLoss()).run(asked)


def _data_warnings(config: PretrainConfig, folder: RunFolder, cache: TileCache) -> Iterator[Warned]:
    """Yield what must be known of the images; those that cannot be used are written into the run folder."""
    if cache.quarantine:
        yield report_unusable(cache.quarantine, folder)
    if missing := missing_folders(cache.listing, config.tiles.leave_out):
        yield Warned("data", f"There is no folder {' or '.join(missing)} to leave out in {config.data}")
    yield from (Warned("images", one) for one in cache.warnings)


def _scale_seen(cache: TileCache, config: PretrainConfig) -> float | None:
    """Return µm per pixel of what the model sees: a typical random crop of a tile, resized to its own tile size."""
    if cache.mpp is None:
        return None
    crop = typical_edge(config.augmentation.crop_scale, config.augmentation.crop_ratio) * int(cache.tiles.shape[1])
    return cache.mpp * crop / config.model.tile_size


def plan(config: PretrainConfig, tiles: int, processes: int) -> tuple[Schedule, list[Warned]]:
    """Build the data and learning-rate schedule, with any warnings.

    Raises
    ------
    DataError
        If there are fewer tiles than processes.
    ValueError
        If the batch cannot be shared evenly by the processes.
    """
    batch, warnings = fitting_batch(config.batch_size, tiles, processes)
    warnings += _schedule_warnings(config)
    optimizer = config.optimizer
    rate = optimizer.base_lr * batch * config.loss.views / 256
    lowest = min(optimizer.min_lr, rate)
    return Schedule(tiles, batch, config.epochs, rate, lowest, optimizer.warmup_epochs, config.seed), warnings


def _schedule_warnings(config: PretrainConfig) -> list[Warned]:
    """Return a warning for each part of the schedule that the run is too short to reach."""
    epochs, warnings = config.epochs, []
    if config.loss.p > 0 and epochs <= config.loss.p_start_epoch:
        message = (
            f"The run of {epochs} epochs ends before self-distillation starts (loss.p_start_epoch "
            f"{config.loss.p_start_epoch:g}): it trains a plain MAE. Give more epochs or lower p_start_epoch"
        )
        warnings.append(Warned("schedule", message))
    return warnings + warmup_warnings(epochs, config.optimizer.warmup_epochs)
