"""Pre-training as a sequence of events: prepare the tiles, restore what was saved, step by step to the end."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path

import torch

from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.data.batches.crops import typical_edge
from napari_sdmae.data.image_folder import DataError, missing_folders, require_images
from napari_sdmae.data.tiles.cache import TileCache, open_folder, prepare_tiles
from napari_sdmae.devices.select import select_device
from napari_sdmae.losses.sdmae import SDMAELoss
from napari_sdmae.models.masking import masked_count
from napari_sdmae.models.sdmae import SDMAE
from napari_sdmae.runs.events import Event, Preparing, Warned
from napari_sdmae.runs.folder import Request, RunFolder
from napari_sdmae.training.loop.checkpoints import TrainingState
from napari_sdmae.training.loop.loop import Training
from napari_sdmae.training.loop.model_selection import Asked, LowestLoss
from napari_sdmae.training.loop.processes import World, is_first_process, launch
from napari_sdmae.training.loop.resume import restore
from napari_sdmae.training.loop.schedules import Schedule
from napari_sdmae.training.loop.start import (
    agreed_precision,
    begin_records,
    claim_folder,
    ended_while_preparing,
    report_unusable,
    run_job,
    saved_state,
)
from napari_sdmae.training.loop.tensorboard import check_tensorboard
from napari_sdmae.training.pretraining.engine import Engine
from napari_sdmae.training.pretraining.previews import Previewer


def pretrain(
    config: PretrainConfig, *, run: Path, stop: Asked | None = None, resume: bool = False, take_over: bool = False
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
        If the folder cannot be used; it is then untouched. Or if another process took the run over (``TakenOver``).
    DeviceError, ValueError
        If the settings do not fit the machine or each other.
    DataError
        If the images cannot be used.
    """
    folder = RunFolder(run)
    config = config.model_copy(update={"data": config.data.expanduser().absolute()})
    work = partial(_job, config, folder, resume=resume, take_over=take_over)
    yield from run_job(work, folder, stop, tensorboard=config.tensorboard)


def _job(config: PretrainConfig, folder: RunFolder, asked: Asked, *, resume: bool, take_over: bool) -> Iterator[Event]:
    """Yield the events of the whole run; what cannot work is refused before the folder is touched."""
    device, reason = select_device(config.device)
    check_model(config)
    if config.tensorboard:
        check_tensorboard()
    first = is_first_process()
    if first:
        _claim(config, folder, resume=resume, take_over=take_over)
    yield Preparing(0, 0, reason)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    world = launch(device)
    cache, request = (yield from _prepare(config, asked)) if first else (None, None)
    request = world.agree(request)
    if request is not None:
        yield ended_while_preparing(request, folder, "tiles")
        return
    place = world.share(cache.folder if cache else Path())
    yield from _train(config, folder, world, cache or open_folder(place, config.tiles), asked)


def _claim(config: PretrainConfig, folder: RunFolder, *, resume: bool, take_over: bool) -> None:
    """Make the folder this process's own; a new run without images is refused before, so that the name stays free."""
    if not resume:
        folder.require_free()
        require_images(config.data, config.tiles.leave_out)
    claim_folder(config, folder, resume=resume, take_over=take_over)


def check_model(config: PretrainConfig) -> None:
    """Raise ValueError if model, mask ratio and loss do not fit together; builds the model without its weights."""
    masked_count(config.mask_ratio, config.model.grid**2)
    with torch.device("meta"):
        SDMAE(config.model)
        SDMAELoss(config.loss, config.model.head_outputs)


def _prepare(config: PretrainConfig, asked: Asked) -> Generator[Event, None, tuple[TileCache | None, Request | None]]:
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


def _train(config: PretrainConfig, folder: RunFolder, world: World, cache: TileCache, asked: Asked) -> Iterator[Event]:
    """Put the parts together, go on from the newest checkpoint, and train."""
    if world.rank == 0:
        yield from _data_warnings(config, folder, cache)
    schedule, warnings = plan(config, len(cache.tiles), world.size)
    yield from warnings
    saved, damaged = saved_state(folder, world)
    yield from damaged
    precision, reason = agreed_precision(saved, config.precision, world)
    yield Preparing(1, 1, reason)
    metadata = {
        "target_normalisation": config.loss.target_normalisation,
        "mpp": _scale_seen(cache, config),
        "provenance": {"run": folder.path.name, "data": cache.fingerprint},
    }
    engine = Engine(config, cache, schedule, world, precision, metadata)
    state = saved or TrainingState(
        micro_batch=engine.micro_batch, precision=precision, threads=torch.get_num_threads(), fingerprint=cache.fingerprint
    )
    yield from restore(engine, folder, state, cache.fingerprint)
    begin_records(folder, world, state, precision, reason)
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
    """Return which tiles and which learning rate come when, and what has to be said about it.

    Raises
    ------
    DataError
        If there are fewer tiles than processes.
    ValueError
        If the batch cannot be shared evenly by the processes.
    """
    if tiles < processes:
        raise DataError(f"{tiles} tiles for {processes} processes: give more images")
    batch, warnings = config.batch_size, []
    if batch % processes:
        raise ValueError(f"batch_size {batch} cannot be shared by {processes} processes: choose a multiple of {processes}")
    if batch > tiles:
        batch = tiles // processes * processes
        warnings.append(Warned("batch", f"Only {tiles} tiles: the batch is {batch} instead of {config.batch_size}"))
    warnings += _schedule_warnings(config)
    optimizer = config.optimizer
    rate = optimizer.base_lr * batch * config.loss.views / 256
    lowest = min(optimizer.min_lr, rate)
    return Schedule(tiles, batch, config.epochs, rate, lowest, optimizer.warmup_epochs, config.seed), warnings


def _schedule_warnings(config: PretrainConfig) -> list[Warned]:
    """Return a warning for each part of the schedule that the run is too short to reach."""
    epochs, warnings = config.epochs, []
    if config.loss.p > 0 and epochs <= config.loss.p_start_epoch:
        warnings.append(
            f"The run of {epochs} epochs ends before self-distillation starts (loss.p_start_epoch "
            f"{config.loss.p_start_epoch:g}): it trains a plain MAE. Give more epochs or lower p_start_epoch"
        )
    if epochs < config.optimizer.warmup_epochs:
        warnings.append(
            f"The run of {epochs} epochs ends within the warm-up of the learning rate (optimizer.warmup_epochs "
            f"{config.optimizer.warmup_epochs:g}): give more epochs or lower warmup_epochs"
        )
    return [Warned("schedule", message) for message in warnings]
