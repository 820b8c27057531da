"""A fine-tuning run that is killed, paused or stopped ends with the head, losses and choice of an uninterrupted one."""

import json
import os
import random
import shutil
import signal
import time

import pytest

from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.data.image_folder import DataError
from napari_sdmae.io.checkpoints.head_folder import load_head
from napari_sdmae.runs.events import CheckpointSaved, Ended, EpochFinished, Event, Preparing, StepLogged, Validated, Warned
from napari_sdmae.runs.folder import RunFolderError
from napari_sdmae.training import RunFolder, finetune
from napari_sdmae.training.finetuning.evaluate import Evaluation

EPOCHS = 12


@pytest.fixture(scope="module")
def config(make_finetune) -> FinetuneConfig:
    """Steep enough that the best epoch is not the last one: the choice has to be remembered."""
    return make_finetune("segmentation", epochs=EPOCHS, batch_size=16, seed=1, preview_every=6, optimizer={"base_lr": 0.3})


@pytest.fixture(scope="module")
def uninterrupted(config, tmp_path_factory) -> RunFolder:
    run = RunFolder(tmp_path_factory.mktemp("reference") / "run")
    assert list(finetune(config, run=run.path))[-1].state == "finished"
    return run


def logged(run: RunFolder) -> list[dict]:
    """Return everything that was logged but speed, memory and time."""
    return [
        {name: value for name, value in record.items() if name not in ("time", "memory", "images_per_s")}
        for record in run.metrics()
    ]


def report_of(run: RunFolder) -> dict:
    return json.loads(run.report.read_text())


def check_same(run: RunFolder, reference: RunFolder) -> None:
    assert logged(run) == logged(reference)
    assert report_of(run) == report_of(reference)
    for part in ("model", f"checkpoints/{reference.checkpoints()[-1].name}"):
        assert (run.path / part / "model.safetensors").read_bytes() == (reference.path / part / "model.safetensors").read_bytes()
    assert run.status().state == "finished"
    assert run.status().best == reference.status().best
    assert not list(run.path.rglob("*.tmp*"))


def start(jobs, config: FinetuneConfig, run: RunFolder) -> int:
    if run.config.exists():
        return jobs.start("resume", run.path)
    settings = run.path.with_suffix(".yaml")
    settings.write_text(config.to_yaml())
    return jobs.start("finetune", "--config", settings, "--output", run.path)


def trains(run: RunFolder, pid: int) -> bool:
    status = run.status()
    return status is not None and status.state == "running" and status.pid == pid


def test_the_best_epoch_is_not_the_last(uninterrupted):
    assert report_of(uninterrupted)["selected"]["epoch"] < EPOCHS


def test_killed_at_random_moments(jobs, config, uninterrupted, tmp_path):
    run, chance = RunFolder(tmp_path / "run"), random.Random(3)
    for _ in range(5):
        pid = start(jobs, config, run)
        jobs.wait_until(pid, lambda pid=pid: trains(run, pid))
        time.sleep(chance.uniform(0, 0.3))
        jobs.kill(pid)
        assert run.status().state == "interrupted"
    assert jobs.wait(start(jobs, config, run)) == 0, run.log.read_text()
    check_same(run, uninterrupted)


def test_terminated_by_signal_leaves_a_head_and_a_report(jobs, config, uninterrupted, tmp_path):
    run = RunFolder(tmp_path / "run")
    pid = start(jobs, config, run)
    jobs.wait_until(pid, lambda: trains(run, pid) and run.model.exists())
    os.kill(pid, signal.SIGTERM)
    assert jobs.wait(pid) == 143
    assert run.status().state == "stopped"
    report = report_of(run)
    assert report["test"] is None
    assert not report["finished"]
    assert any("not evaluated on the test images" in warning for warning in report["warnings"])
    assert report["selected"]["by"] == "validation/mIoU"
    assert load_head(run.path).spec.task == "segmentation"
    assert jobs.wait(start(jobs, config, run)) == 0
    check_same(run, uninterrupted)


def interrupted(config: FinetuneConfig, run: RunFolder, step: int, request: str) -> list[Event]:
    """Run in this process and ask for `request` through the control file as soon as `step` is logged."""
    events = []
    for event in finetune(config, run=run.path, resume=run.config.exists()):
        events.append(event)
        if isinstance(event, StepLogged) and event.step == step:
            run.ask(request)
    return events


@pytest.mark.parametrize("request_", ["pause", "stop", "cancel"])
def test_asked_in_the_middle_and_at_the_end_of_epochs(config, uninterrupted, tmp_path, request_):
    run, steps = RunFolder(tmp_path / "run"), report_of(uninterrupted)["step"] // EPOCHS
    for step in (steps + 1, 4 * steps, 7 * steps + 2):
        ended = interrupted(config, run, step, request_)[-1]
        assert (ended.state, ended.step) == ({"pause": "paused", "stop": "stopped", "cancel": "cancelled"}[request_], step)
    assert list(finetune(config, run=run.path, resume=True))[-1].state == "finished"
    check_same(run, uninterrupted)


@pytest.fixture
def asked_while_validating(monkeypatch):
    """Return a function after which the run is asked to end at the second image of validation number `which`."""
    real, looks = Evaluation.run, []

    def patch(run: RunFolder, which: int, request: str) -> None:
        def slow(self):
            looks.append(self)
            for done in real(self):
                if done == 2 and len(looks) == which:
                    run.ask(request)
                yield done

        monkeypatch.setattr(Evaluation, "run", slow)

    return patch


@pytest.mark.parametrize("request_", ["pause", "stop", "cancel"])
def test_asked_while_validating(config, uninterrupted, tmp_path, asked_while_validating, monkeypatch, request_):
    """The validation is broken off, the epoch stays open, and it is closed when the run goes on."""
    run, steps = RunFolder(tmp_path / "run"), report_of(uninterrupted)["step"] // EPOCHS
    asked_while_validating(run, 3, request_)
    events = list(finetune(config, run=run.path))
    assert [event.epoch for event in events if isinstance(event, EpochFinished)] == [1, 2]
    assert events[-1].step == 3 * steps
    saved = [event.step for event in events if isinstance(event, CheckpointSaved)]
    assert saved[-1] == (2 if request_ == "cancel" else 3) * steps
    monkeypatch.undo()
    for event in finetune(config, run=run.path, resume=True):  # and once more, before the next checkpoint
        if isinstance(event, StepLogged) and event.step == 3 * steps + 1:
            break
    assert list(finetune(config, run=run.path, resume=True))[-1].state == "finished"
    check_same(run, uninterrupted)


def test_asked_while_testing(config, uninterrupted, tmp_path, asked_while_validating, monkeypatch):
    run = RunFolder(tmp_path / "run")
    asked_while_validating(run, EPOCHS + 1, "stop")
    ended = list(finetune(config, run=run.path))[-1]
    assert ended.state == "stopped"
    assert report_of(run)["test"] is None
    monkeypatch.undo()
    assert list(finetune(config, run=run.path, resume=True))[-1].state == "finished"
    check_same(run, uninterrupted)


def test_resuming_a_finished_run_looks_at_no_image_and_changes_nothing(config, uninterrupted, monkeypatch):
    before = logged(uninterrupted), uninterrupted.report.read_bytes(), (uninterrupted.model / "config.json").read_bytes()

    def looked(self):
        raise AssertionError("the test images were looked at again")

    monkeypatch.setattr(Evaluation, "run", looked)
    ended = list(finetune(config, run=uninterrupted.path, resume=True))[-1]
    assert ended.state == "finished"
    assert ended.message == uninterrupted.status().message
    assert before == (
        logged(uninterrupted),
        uninterrupted.report.read_bytes(),
        (uninterrupted.model / "config.json").read_bytes(),
    )


@pytest.mark.parametrize(
    ("task", "changes"),
    [
        ("instances", {}),
        ("detection", {"epochs": 2, "batch_size": 16}),
        ("classification", {"augmentation": {"mixup": 0.8, "cutmix": 1.0}}),
        ("classification", {"labels": {"balance": "sampling"}}),
        ("classification", {"head": {"classifier": "knn"}, "batch_size": 2}),
    ],
)
def test_every_task_goes_on_exactly(make_finetune, tmp_path, task, changes):
    config = make_finetune(task, **changes)
    run, reference = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "reference")
    list(finetune(config, run=reference.path))
    interrupted(config, run, 2, "pause")
    list(finetune(config, run=run.path, resume=True))
    check_same(run, reference)


def test_a_stop_before_any_validation_leaves_the_head_so_far(make_finetune, tmp_path):
    run = RunFolder(tmp_path / "run")
    interrupted(make_finetune("segmentation"), run, 1, "stop")
    report = report_of(run)
    assert (report["selected"]["step"], report["selected"]["value"], report["validation"]) == (1, None, None)
    assert load_head(run.path).spec.task == "segmentation"


def test_a_request_while_the_labels_are_read(config, tmp_path):
    run = RunFolder(tmp_path / "run")
    for event in finetune(config, run=run.path):
        if isinstance(event, Preparing):
            run.ask("stop")
    assert (event.state, event.step) == ("stopped", 0)
    assert "while preparing the labels; nothing was saved yet" in event.message
    assert isinstance(event, Ended)


def test_other_settings_or_labels_are_refused(make_finetune, labelled_data, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(labelled_data["segmentation"], data)
    config, run = make_finetune("segmentation", data=data), RunFolder(tmp_path / "run")
    events = interrupted(config, run, 2, "pause")
    assert not any(isinstance(event, Validated) for event in events)
    with pytest.raises(RunFolderError, match=r"other settings \(epochs\)"):
        list(finetune(config.model_copy(update={"epochs": 9}), run=run.path, resume=True))
    (data / "images" / "00.png").unlink()
    (data / "labels" / "00.png").unlink()
    with pytest.raises(DataError, match="images changed"):
        list(finetune(config, run=run.path, resume=True))


def test_a_damaged_newest_checkpoint_leaves_the_best_of_the_one_before(config, uninterrupted, tmp_path):
    """When a new best epoch replaces an old one, the checkpoint before still needs the old one."""
    steps = report_of(uninterrupted)["step"] // EPOCHS
    values = [record["validation/mIoU"] for record in logged(uninterrupted) if record["kind"] == "epoch"]
    bests = [max(range(epoch + 1), key=lambda one: (values[one], one)) for epoch in range(EPOCHS)]
    epoch = next(epoch for epoch in range(2, EPOCHS - 1) if bests[epoch] == epoch and bests[epoch - 1] < epoch - 1)
    run = RunFolder(tmp_path / "run")
    for event in finetune(config, run=run.path):
        if isinstance(event, CheckpointSaved) and event.step == (epoch + 1) * steps:
            break
    (run.checkpoints()[-1] / "training.safetensors").write_bytes(b"cut")
    assert list(finetune(config, run=run.path, resume=True))[-1].state == "finished"
    check_same(run, uninterrupted)


def test_a_finished_run_that_lost_its_best_epoch_keeps_the_last_one_and_says_so(uninterrupted, tmp_path):
    run, before = RunFolder(tmp_path / "run"), report_of(uninterrupted)
    shutil.copytree(uninterrupted.path, run.path)
    best = run.checkpoint(before["selected"]["step"])
    (best / "model.safetensors").write_bytes(b"cut")
    events = list(finetune(run.read_config(), run=run.path, resume=True))
    assert events[-1].state == "finished"
    (said,) = [event.message for event in events if isinstance(event, Warned) and event.code == "checkpoint"]
    assert f"{best.name}: model.safetensors is not as it was written; kept as {best.name}.damaged" in said
    report, last = report_of(run), logged(run)[-1]
    assert report["selected"] == before["selected"] | {"epoch": EPOCHS, "step": before["step"], "value": last["validation/mIoU"]}
    assert report["test"] != before["test"]
    assert load_head(run.path).spec.metrics["test"] == report["test"]
    kept = run.checkpoints()[-1] / "model.safetensors"
    assert (run.model / "model.safetensors").read_bytes() == kept.read_bytes()


def test_a_run_that_lost_its_best_epoch_goes_on_and_chooses_among_what_is_left(config, uninterrupted, tmp_path):
    """The checkpoint gone on from is measured, and counts like the epochs still to come."""
    steps = report_of(uninterrupted)["step"] // EPOCHS
    values = [record["validation/mIoU"] for record in logged(uninterrupted) if record["kind"] == "epoch"]
    bests = [max(range(epoch + 1), key=lambda one: (values[one], one)) for epoch in range(EPOCHS)]
    epoch = next(epoch for epoch in range(1, EPOCHS - 1) if bests[epoch] < epoch)
    run = RunFolder(tmp_path / "run")
    interrupted(config, run, (epoch + 1) * steps, "pause")
    shutil.rmtree(run.checkpoint((bests[epoch] + 1) * steps))
    assert list(finetune(config, run=run.path, resume=True))[-1].state == "finished"
    left = max(range(epoch, EPOCHS), key=lambda one: (values[one], one))
    assert report_of(run)["selected"]["epoch"] == left + 1
    assert report_of(run)["selected"]["value"] == pytest.approx(values[left])
    assert logged(run) == logged(uninterrupted)
