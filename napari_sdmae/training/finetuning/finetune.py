"""Fine-tuning as a sequence of events: read the labels, restore what was saved, step by step to the end, report.

When the scale of no training image is known, the head has no scale either and takes every picture as it is. It used to take
over the encoder's: a nuclei head (PQ 0.32 on its test images) then found no nucleus in skin at 0.53 µm/px, which was reduced
to the encoder's 1.34 µm/px. A classifier remembers how large such images were (``fitted_px``).
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

from napari_sdmae.config.finetune import SCRATCH, FinetuneConfig
from napari_sdmae.config.head import HeadSpec
from napari_sdmae.data.batches.labelled_tiles import LabelledTiles
from napari_sdmae.data.image_folder import DataError
from napari_sdmae.data.labelled.read import LabelledSet, read_labelled
from napari_sdmae.data.labelled.splits import refuse_untrainable
from napari_sdmae.io.checkpoints.new_head import new_head
from napari_sdmae.io.model_info.info import find_model
from napari_sdmae.losses.heads import weighs_classes
from napari_sdmae.metrics import check_detection_metrics
from napari_sdmae.models.heads.head_model import HeadModel
from napari_sdmae.runs.events import Event, Preparing, Warned
from napari_sdmae.runs.folder import Request, RunFolder
from napari_sdmae.training.finetuning.budget import fit_epochs
from napari_sdmae.training.finetuning.engine import HeadEngine, KNNEngine, SinglePass
from napari_sdmae.training.finetuning.evaluate import measurable
from napari_sdmae.training.finetuning.previews import HeadPreviewer
from napari_sdmae.training.finetuning.selection import UNSELECTED, BestOnValidation
from napari_sdmae.training.loop.loop import Training
from napari_sdmae.training.loop.model_selection import StopPoll
from napari_sdmae.training.loop.processes import Processes
from napari_sdmae.training.loop.resume import forget_lost_best, restore
from napari_sdmae.training.loop.schedules import Schedule
from napari_sdmae.training.loop.start import (
    Work,
    begin_records,
    beginning,
    claim_folder,
    ended_while_preparing,
    fitting_batch,
    report_unusable,
    run_job,
    warmup_warnings,
)

LOOK_S = 0.2
"""Seconds between two looks for a request while the labels are read."""


def finetune(
    config: FinetuneConfig, *, run: Path, stop: StopPoll | None = None, resume: bool = False, take_over: bool = False
) -> Iterator[Event]:
    """Train a head; yield what happens, the last event being :class:`~napari_sdmae.runs.events.Ended`.

    The run folder is that of pre-training (:mod:`napari_sdmae.runs.folder`); ``model/`` is the head of the epoch that
    is best on the validation images, and ``report.json`` says how good it is there and on the test images, which are looked at
    once, at the end. A run that was paused, stopped or killed and is resumed ends with the very head it would have had, bit for
    bit on the CPU in fp32.

    Parameters
    ----------
    config
        All settings. When resuming, those the run began with.
    run
        The run folder: new or empty, or with `resume` one that holds a run.
    stop
        Asked once per step and per image that is measured: ``"stop"`` saves, keeps the best head and reports on the validation
        images, ``"pause"`` saves, ``"cancel"`` ends without saving. The run folder's control file is followed as well.
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
        If the settings do not fit the machine, the model or each other.
    DataError
        If the labelled images cannot be used.
    FileNotFoundError
        If there is no such model.
    """
    folder = RunFolder(run)
    config = _absolute(config)
    work = Work(
        partial(_check, config, resume),
        partial(claim_folder, config, folder, resume=resume, take_over=take_over),
        partial(_read, config),
        "labels",
        partial(_train, config, folder),
    )
    yield from run_job(config, work, folder, stop)


def _absolute(config: FinetuneConfig) -> FinetuneConfig:
    """Return the settings with paths that hold in any folder."""
    model = Path(config.model).expanduser()
    named = config.model != SCRATCH and model.exists()  # a folder that happens to be called scratch is not meant
    changes = {"data": config.data.expanduser().absolute()}
    return config.model_copy(update=changes | ({"model": str(model.absolute())} if named else {}))


def _check(config: FinetuneConfig, resume: bool) -> None:
    """Refuse what is known to fail."""
    if config.task == "detection":
        check_detection_metrics()
    if config.model != SCRATCH and not resume:
        find_model(config.model)
    if not config.data.exists():
        raise DataError(f"no folder or file {config.data}: give the folder, CSV table or COCO file of the labelled images")


def _read(config: FinetuneConfig, asked: StopPoll) -> Generator[Event, None, tuple[LabelledSet | None, Request | None]]:
    """Read the labels in a thread; return them, or the request that came in the meantime."""
    yield Preparing(0, 0, "reading the labelled images")
    found: list[LabelledSet | Exception] = []

    def read() -> None:
        try:
            found.append(read_labelled(config))
        except Exception as error:  # raised again below, in the thread that waits
            found.append(error)

    thread = threading.Thread(target=read, name="labels", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(LOOK_S)
        if (request := asked()) is not None:
            return None, request
    (result,) = found
    if isinstance(result, Exception):
        raise result
    refuse_untrainable(result.images)
    return result, asked()


def _train(
    config: FinetuneConfig, folder: RunFolder, world: Processes, labelled: LabelledSet | None, asked: StopPoll
) -> Iterator[Event]:
    """Put the parts together, go on from the newest checkpoint, and train."""
    labelled = world.share(labelled)
    assert labelled is not None  # the first process has read it, or the run has ended
    if world.rank == 0 and labelled.unusable:
        yield report_unusable(labelled.unusable, folder)
    model = new_head(config, labelled.classes, most_common_scale(labelled))
    known = {"provenance": model.spec.provenance | _provenance(config, folder, labelled)}
    model.spec = model.spec.model_copy(update=known | _scale_learned(labelled))
    labelled, small = _without_too_small(model, labelled)
    warnings = [*labelled.warnings, *small, *_scale_warnings(model, labelled), *_balance_warnings(config, model.spec)]
    yield from (Preparing(0, 0, note) for note in labelled.notes)
    yield from (Warned("labels", warning) for warning in warnings)
    if not labelled.part("validation"):
        yield Warned("selection", UNSELECTED)
    begun = yield from beginning(config.precision, folder, world)
    tiles = LabelledTiles(labelled.part("train"), labelled, config, tile=model.spec.tile_size, mpp=model.spec.mpp)
    schedule, changed = plan(config, len(tiles), world.size)
    yield from changed
    build = KNNEngine if isinstance(schedule, SinglePass) else HeadEngine
    engine = build(config, model, tiles, schedule, world, begun.precision)
    state = begun.state(engine.micro_batch, labelled.fingerprint)
    if isinstance(engine, HeadEngine) and (fitted := fit_epochs(engine, labelled, state)) is not None:
        yield fitted
    lost = world.share(forget_lost_best(folder, state) if world.rank == 0 else None)
    yield from restore(engine, folder, state, labelled.fingerprint, state.best_step)
    begin_records(folder, world, state, begun)
    judge = BestOnValidation(engine, labelled, folder, warnings)
    if lost is not None:
        yield lost
        request = world.agree(judge.choose_again(state, asked) if world.rank == 0 else None)
        if request is not None:
            yield ended_while_preparing(request, folder, "choice of the best epoch")
            return
    yield from Training(engine, folder, state, HeadPreviewer(engine, labelled), judge).run(asked)


def _without_too_small(model: HeadModel, labelled: LabelledSet) -> tuple[LabelledSet, list[str]]:
    """Return the set without images in which the head could not be measured, and a warning of them; it trains on all."""
    measured = [image for image in labelled.images if image.part != "train"]
    fit, warnings = measurable(model, measured)
    small = set(measured) - set(fit)
    return replace(labelled, images=tuple(image for image in labelled.images if image not in small)), warnings


def most_common_scale(labelled: LabelledSet) -> float | None:
    """Return the µm per pixel that most of the images have, None if it is unknown."""
    scales = Counter(image.mpp for image in labelled.images if image.mpp is not None)
    return scales.most_common(1)[0][0] if scales else None


def _scale_learned(labelled: LabelledSet) -> dict[str, float | None]:
    """Return what the head keeps of the images of unknown scale: how large they were where they were fitted to a tile, and no
    scale where none is known (that of the encoder was not seen).
    """
    sides = [min(image.size) for image in labelled.part("train") if image.mpp is None]
    fitted = float(median(sides)) if labelled.task == "classification" and sides else None
    return {"fitted_px": fitted} | ({"mpp": None} if most_common_scale(labelled) is None else {})


def _provenance(config: FinetuneConfig, folder: RunFolder, labelled: LabelledSet) -> dict[str, object]:
    """Return where the head comes from: what it takes to know its training images again."""
    return {
        "run": folder.path.name,
        "data": labelled.fingerprint,
        "model": config.model if config.model == SCRATCH else Path(config.model).name,
        "labels": config.labels.model_dump(mode="json"),
        "seed": config.seed,
        "image_mpp": config.image_mpp,
    }


def _scale_warnings(model: HeadModel, labelled: LabelledSet) -> list[str]:
    """Return a warning if the scale of some or all images is unknown."""
    unknown = sum(image.mpp is None for image in labelled.images)
    if not unknown:
        return []
    if model.spec.mpp is None:
        taken = "are fitted to a tile" if model.spec.fitted_px else "are taken as they are"
        words = f"the scale of the images is unknown: they {taken}, and the head will take every picture so, whatever its scale"
    else:
        as_is = f"are taken as they are, as if at {model.spec.mpp:g} µm/px"
        taken = "are fitted to a tile, the others brought to their scale" if labelled.task == "classification" else as_is
        words = f"the scale of {unknown} of {len(labelled.images)} images is unknown: they {taken}"
    return [f"{words}; give image_mpp, or a column mpp in the table"]


def _balance_warnings(config: FinetuneConfig, spec: HeadSpec) -> list[str]:
    """Return a warning if weights were chosen for rare classes, and the loss of the head has none."""
    if config.labels.balance != "weights" or len(spec.classes) < 2 or weighs_classes(spec):
        return []
    loss = "detection" if spec.task == "detection" else f"head.loss {spec.head.loss}"
    return [f"labels.balance weights has no effect with {loss}: choose labels.balance sampling to draw rare classes more often"]


def plan(config: FinetuneConfig, tiles: int, processes: int) -> tuple[Schedule, list[Warned]]:
    """Build the data and learning-rate schedule, with any warnings.

    Raises
    ------
    DataError
        If there are fewer tiles than processes.
    ValueError
        If the batch cannot be shared evenly by the processes.
    """
    swept = config.task == "classification" and config.head.classifier == "knn"  # each tile is looked at once, in any batches
    batch, warnings = fitting_batch(processes if swept else config.batch_size, tiles, processes, "training tile")
    if swept:
        return SinglePass(tiles, config.batch_size, 1, 0.0, 0.0, 0.0, config.seed), []
    optimizer = config.optimizer
    warnings += [] if config.minutes else warmup_warnings(config.epochs, optimizer.warmup_epochs)
    rate = optimizer.base_lr * batch / 256
    schedule = Schedule(tiles, batch, config.epochs, rate, min(optimizer.min_lr, rate), optimizer.warmup_epochs, config.seed)
    return schedule, warnings
