"""A limit to the time of a training: its epochs are cut to those that fit, before the first step.

The learning rate falls towards the last step, so the last step must be known from the beginning. A step and the measurement of
the validation images are timed once; what the run then has is a number of epochs like any other, which its checkpoints
remember: it resumes exactly, on a slower machine too.
"""

from __future__ import annotations

import time
from dataclasses import replace

from napari_sdmae.data.labelled.labelled_set import LabelledSet
from napari_sdmae.devices.precision import autocast
from napari_sdmae.runs.events import Preparing
from napari_sdmae.training.finetuning.engine import HeadEngine
from napari_sdmae.training.finetuning.evaluate import Evaluation
from napari_sdmae.training.loop.checkpoints import TrainingState


def fit_epochs(engine: HeadEngine, labelled: LabelledSet, state: TrainingState) -> Preparing | None:
    """Give `engine` no more epochs than fit into the minutes of its settings, at least one, and say so.

    A run that goes on keeps the number it began with. Nothing happens where no limit is set.
    """
    minutes = engine.config.minutes
    if minutes is None:
        return None
    world, steps = engine.world, engine.schedule.steps_per_epoch
    if state.epochs is None:
        each = world.share(engine.time_step())
        measured = world.share(_validation_seconds(engine, labelled) if world.rank == 0 else None) or 0.0
        fitting = epochs_within(60 * minutes, steps * each, measured, engine.config.validate_every)
        state.epochs = min(fitting, engine.config.epochs)
    engine.schedule = replace(engine.schedule, epochs=state.epochs, warmup_epochs=_warmup(engine.schedule.warmup_epochs, state))
    return Preparing(0, 0, f"{state.epochs} epochs of {steps} steps, within {minutes:g} minutes")


def epochs_within(seconds: float, epoch: float, validation: float, every: int) -> int:
    """Return how many epochs fit into `seconds`, at least 1.

    Parameters
    ----------
    seconds
        For everything.
    epoch
        Seconds of one epoch of training.
    validation
        Seconds to measure the validation images: after each `every` epochs, and once more to choose the thresholds at the end.
    every
        Epochs between two validations.
    """
    return max(1, int((seconds - validation) / (epoch + validation / every)))


def _warmup(epochs: float, state: TrainingState) -> float:
    """Return the epochs of warm-up: at most a tenth of the run."""
    assert state.epochs is not None
    return min(epochs, state.epochs / 10)


def _validation_seconds(engine: HeadEngine, labelled: LabelledSet) -> float:
    """Return the seconds it takes to measure the validation images, by those that are seen first; 0 without any."""
    images = labelled.part("validation")
    if not images:
        return 0.0
    first = images[: engine.config.batch_size if labelled.task == "classification" else 1]
    evaluation = Evaluation(engine.model, first, labelled, engine.config, autocast(engine.world.device, engine.precision))
    start = time.perf_counter()
    list(evaluation.run())
    measured, whole = (sum(image.size[0] * image.size[1] for image in some) for some in (first, images))
    return (time.perf_counter() - start) * whole / measured
