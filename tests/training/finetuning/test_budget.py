"""A run that is given a time has the epochs that fit into it, and is then a run of so many epochs like any other."""

from pathlib import Path

import pytest

from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.runs.events import Preparing, Started
from napari_sdmae.training import RunFolder, finetune
from napari_sdmae.training.finetuning import budget
from napari_sdmae.training.finetuning.budget import epochs_within
from napari_sdmae.training.finetuning.engine import HeadEngine

EPOCHS = 3


@pytest.mark.parametrize(
    ("seconds", "epoch", "validation", "every", "epochs"),
    [(600, 10, 5, 1, 39), (600, 10, 5, 5, 54), (600, 10, 0, 1, 60), (5, 10, 5, 1, 1), (1, 10, 5, 1, 1)],
)
def test_training_and_measuring_fit(seconds: float, epoch: float, validation: float, every: int, epochs: int) -> None:
    found = epochs_within(seconds, epoch, validation, every)
    assert found == epochs
    assert found == 1 or found * epoch + (found // every + 1) * validation <= seconds


@pytest.fixture
def slow(monkeypatch) -> None:
    """A machine on which an epoch takes a minute; the step is timed as ever."""
    timed = HeadEngine.time_step

    def a_minute(engine: HeadEngine) -> float:
        assert timed(engine) > 0
        return 60 / engine.schedule.steps_per_epoch

    monkeypatch.setattr(HeadEngine, "time_step", a_minute)
    monkeypatch.setattr(budget, "_validation_seconds", lambda *_: 0.0)


def head_of(config: FinetuneConfig, run: Path) -> bytes:
    events = list(finetune(config, run=run))
    assert events[-1].state == "finished"
    return (RunFolder(run).model / "model.safetensors").read_bytes()


@pytest.mark.usefixtures("slow")
def test_timing_a_step_changes_nothing(make_finetune, tmp_path: Path) -> None:
    """The head is that of a run of so many epochs, bit for bit."""
    shared = {"seed": 1, "optimizer": {"warmup_epochs": 0.3}}
    timed = make_finetune("segmentation", minutes=EPOCHS + 0.5, epochs=50, **shared)
    counted = make_finetune("segmentation", epochs=EPOCHS, **shared)
    assert head_of(timed, tmp_path / "timed") == head_of(counted, tmp_path / "counted")


@pytest.mark.usefixtures("slow")
def test_a_run_keeps_its_epochs_when_it_goes_on(make_finetune, tmp_path: Path, monkeypatch) -> None:
    config = make_finetune("segmentation", minutes=EPOCHS, epochs=50)
    asked = iter([None] * 12 + ["pause"] * 100)
    begun = list(finetune(config, run=tmp_path / "run", stop=lambda: next(asked)))
    assert begun[-1].state == "paused"
    (started,) = (event for event in begun if isinstance(event, Started))
    assert started.epochs == EPOCHS
    assert any("3 epochs of" in event.message for event in begun if isinstance(event, Preparing))
    monkeypatch.setattr(HeadEngine, "time_step", lambda _: pytest.fail("a run that goes on is not timed again"))
    resumed = list(finetune(config, run=tmp_path / "run", resume=True))
    assert resumed[-1].state == "finished"
    assert next(event for event in resumed if isinstance(event, Started)).epochs == EPOCHS
    assert RunFolder(tmp_path / "run").status().epochs == EPOCHS
