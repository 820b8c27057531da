"""A run that is killed, paused or stopped and resumed ends with the model of an uninterrupted run, bit for bit."""

import errno
import json
import os
import random
import shutil
import signal
import time

import pytest

from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.data.image_folder import DataError
from napari_sdmae.runs.events import Ended, Event, StepLogged, Warned
from napari_sdmae.training import RunFolder, pretrain
from napari_sdmae.training.loop.checkpoints import UnreadableCheckpointError, set_aside

EPOCHS = 24


@pytest.fixture(scope="module")
def config(make_config) -> PretrainConfig:
    return make_config(epochs=EPOCHS, preview_every=10)


@pytest.fixture(scope="module")
def uninterrupted(config: PretrainConfig, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    run = RunFolder(tmp_path_factory.mktemp("reference") / "run")
    assert list(pretrain(config, run=run.path))[-1] == Ended("finished", 3 * EPOCHS)
    return run


def weights(run: RunFolder) -> bytes:
    return (run.model / "model.safetensors").read_bytes()


def losses(run: RunFolder) -> list[tuple[str, int, float]]:
    return [(record["kind"], record["step"], record["total"]) for record in run.metrics()]


def start(jobs, config: PretrainConfig, run: RunFolder) -> int:
    """Start the job as a process of its own: a new run, or going on with the one that is there."""
    if run.config.exists():
        return jobs.start("resume", run.path)
    settings = run.path.with_suffix(".yaml")
    settings.write_text(config.to_yaml())
    return jobs.start("pretrain", "--config", settings, "--output", run.path)


def trains(run: RunFolder, pid: int) -> bool:
    """Return whether the process `pid`, and not one before it, is training."""
    status = run.status()
    return status is not None and status.state == "running" and status.pid == pid


def finish(jobs, config: PretrainConfig, run: RunFolder) -> None:
    assert jobs.wait(start(jobs, config, run)) == 0, run.log.read_text()


def check_same(run: RunFolder, reference: RunFolder) -> None:
    assert weights(run) == weights(reference)
    assert losses(run) == losses(reference)
    assert run.status().state == "finished"
    assert not list(run.path.rglob("*.tmp*"))


def test_killed_at_random_moments(jobs, config, uninterrupted, tmp_path):
    run, chance = RunFolder(tmp_path / "run"), random.Random(1)
    for _ in range(6):
        pid = start(jobs, config, run)
        jobs.wait_until(pid, lambda pid=pid: trains(run, pid))
        time.sleep(chance.uniform(0, 0.15))
        jobs.kill(pid)
        assert run.status().state == "interrupted"
    finish(jobs, config, run)
    check_same(run, uninterrupted)


def catch_writing(jobs, run: RunFolder, pid: int, part: str) -> None:
    """Halt the process while it writes `part` of a checkpoint; where the rename was quicker, wait for the next checkpoint."""
    while True:
        jobs.wait_until(pid, lambda: list(run.checkpoints_folder.glob(f".step-*.tmp/*{part}*")))
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.02)  # signals arrive when they arrive
        if list(run.checkpoints_folder.glob(".step-*.tmp")):
            return
        os.kill(pid, signal.SIGCONT)


def test_killed_while_a_checkpoint_is_written(jobs, config, uninterrupted, tmp_path):
    run = RunFolder(tmp_path / "run")
    for part in ("model.safetensors", "config.json", "training.safetensors"):
        pid = start(jobs, config, run)
        catch_writing(jobs, run, pid, part)
        jobs.kill(pid)
        assert list(run.checkpoints_folder.glob(".step-*.tmp"))
    finish(jobs, config, run)
    check_same(run, uninterrupted)


def test_killed_while_preparing(jobs, config, uninterrupted, tmp_path):
    run = RunFolder(tmp_path / "run")
    pid = start(jobs, config, run)
    jobs.wait_until(pid, run.status_file.exists)
    jobs.kill(pid)
    finish(jobs, config, run)
    check_same(run, uninterrupted)


def test_terminated_by_signal_then_resumed(jobs, config, uninterrupted, tmp_path):
    run = RunFolder(tmp_path / "run")
    pid = start(jobs, config, run)
    jobs.wait_until(pid, lambda: trains(run, pid))
    os.kill(pid, signal.SIGTERM)
    assert jobs.wait(pid) == 143
    status = run.status()
    assert status.state == "stopped"
    assert weights(run) == (run.checkpoint(status.step) / "model.safetensors").read_bytes()
    finish(jobs, config, run)
    check_same(run, uninterrupted)


def test_a_live_run_is_not_resumed_twice(jobs, config, tmp_path):
    run = RunFolder(tmp_path / "run")
    pid = start(jobs, config, run)
    jobs.wait_until(pid, lambda: trains(run, pid))
    assert jobs.wait(jobs.start("resume", run.path)) == 2
    assert run.status().pid == pid
    assert jobs.wait(jobs.start("cancel", run.path)) == 0
    assert jobs.wait(pid) == 0
    assert run.status().state == "cancelled"
    assert jobs.wait(jobs.start("cancel", run.path)) == 2


def test_taken_over_from_a_job_that_nobody_can_see_which_then_wakes(jobs, config, uninterrupted, tmp_path):
    run = RunFolder(tmp_path / "run")
    pid = start(jobs, config, run)
    jobs.wait_until(pid, lambda: trains(run, pid) and run.checkpoints())
    os.kill(pid, signal.SIGSTOP)
    for file in (run.status_file, run.path / ".owner" / "000001" / "process.json"):  # as if it were another machine's
        file.write_text(json.dumps(json.loads(file.read_text()) | {"host": "gpu7"}))
    assert jobs.wait(jobs.start("resume", run.path)) == 2
    assert jobs.wait(jobs.start("resume", run.path, "--take-over")) == 0
    check_same(run, uninterrupted)
    before = content(run, "*")
    os.kill(pid, signal.SIGCONT)
    assert jobs.wait(pid) == 1
    assert content(run, "*") == before


def interrupted(config: PretrainConfig, run: RunFolder, step: int, request: str) -> list[Event]:
    """Run in this process and ask for `request` through the control file as soon as `step` is logged."""
    events = []
    for event in pretrain(config, run=run.path, resume=run.config.exists()):
        events.append(event)
        if isinstance(event, StepLogged) and event.step == step:
            run.ask(request)
    return events


@pytest.mark.parametrize("request_", ["pause", "stop"])
def test_paused_or_stopped_in_the_middle_of_epochs(config, uninterrupted, tmp_path, request_):
    run = RunFolder(tmp_path / "run")
    for step in (7, 8, 40):
        ended = interrupted(config, run, step, request_)[-1]
        assert (ended.state, ended.step) == ({"pause": "paused", "stop": "stopped"}[request_], step)
    assert list(pretrain(config, run=run.path, resume=True))[-1] == Ended("finished", 3 * EPOCHS)
    check_same(run, uninterrupted)


def test_a_cancelled_run_goes_on_from_its_last_checkpoint(config, uninterrupted, tmp_path):
    run = RunFolder(tmp_path / "run")
    ended = interrupted(config, run, 8, "cancel")[-1]
    assert (ended.state, ended.step) == ("cancelled", 8)
    assert [path.name for path in run.checkpoints()] == ["step-000003", "step-000006"]
    list(pretrain(config, run=run.path, resume=True))
    check_same(run, uninterrupted)


@pytest.mark.parametrize("damage", ["cut", "flipped", "missing"])
def test_a_damaged_checkpoint_is_left_for_the_one_before(config, uninterrupted, tmp_path, damage):
    run = RunFolder(tmp_path / "run")
    interrupted(config, run, 3 * EPOCHS - 6, "pause")
    file = run.checkpoint(3 * EPOCHS - 6) / "training.safetensors"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.unlink()
    if damage != "missing":
        file.write_bytes(content[:1000] if damage == "cut" else content)
    events = list(pretrain(config, run=run.path, resume=True))
    warnings = [event.message for event in events if isinstance(event, Warned)]
    assert any("step-000066" in message and "training.safetensors" in message for message in warnings), warnings
    assert (run.checkpoints_folder / "step-000066.damaged" / "model.safetensors").is_file()
    check_same(run, uninterrupted)


@pytest.fixture
def paused(make_config, tmp_path) -> RunFolder:
    """A run with the checkpoints of steps 3 and 4."""
    run = RunFolder(tmp_path / "run")
    interrupted(make_config(), run, 4, "pause")
    return run


def content(run: RunFolder, pattern: str = "checkpoints/**/*") -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in run.path.rglob(pattern) if path.is_file()}


def refuse(run: RunFolder, error: type[Exception], words: str) -> None:
    """Check that resuming `run` fails with one line and leaves all its checkpoints, twice the same."""
    before = content(run)
    for _ in range(2):
        with pytest.raises(error, match=words):
            list(pretrain(run.read_config(), run=run.path, resume=True))
        assert content(run) == before
        assert run.status().state == "failed"
        assert "\n" not in run.status().message


def test_a_run_without_any_whole_checkpoint_does_not_begin_anew(paused):
    for path in paused.checkpoints():
        (path / "training.json").write_text('{"step": ')
    refuse(paused, UnreadableCheckpointError, "no checkpoint in .* is whole .*training.json is not as it was written")


def test_a_checkpoint_of_another_version_is_not_damaged(paused):
    file = paused.checkpoint(4) / "training.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"momentum": 0.5}))
    refuse(paused, UnreadableCheckpointError, "another version of napari-sdmae .momentum")


def test_a_disk_that_does_not_answer_says_nothing_about_the_checkpoints(paused, monkeypatch):
    def stale(file):
        raise OSError(errno.ESTALE, "Stale file handle")

    with monkeypatch.context() as patch:
        patch.setattr("napari_sdmae.training.loop.checkpoints._digest", stale)
        refuse(paused, OSError, "Stale file handle")
    assert list(pretrain(paused.read_config(), run=paused.path, resume=True))[-1].state == "finished"


def test_damaged_checkpoints_of_one_step_do_not_replace_each_other(tmp_path):
    for mark in "ab":
        (tmp_path / "step-000004").mkdir()
        (tmp_path / "step-000004" / mark).touch()
        set_aside(tmp_path / "step-000004")
    assert sorted(path.name for path in tmp_path.rglob("?")) == ["a", "b"]


def test_fewer_tiles_at_once_in_the_settings_are_followed(paused):
    paused.config.write_text(paused.read_config().model_copy(update={"micro_batch": 3}).to_yaml())
    list(pretrain(paused.read_config(), run=paused.path, resume=True))
    assert json.loads((paused.checkpoint(9) / "training.json").read_text())["micro_batch"] == 3


def test_resuming_a_finished_run_changes_nothing(config, uninterrupted, tmp_path):
    before = weights(uninterrupted), losses(uninterrupted)
    assert list(pretrain(config, run=uninterrupted.path, resume=True))[-1] == Ended("finished", 3 * EPOCHS)
    assert (weights(uninterrupted), losses(uninterrupted)) == before


def test_the_last_two_and_the_best_checkpoint_stay(uninterrupted):
    epochs = [record for record in uninterrupted.metrics() if record["kind"] == "epoch"]
    best = min(epochs, key=lambda record: (-record["p"], record["total"]))["step"]
    steps = {int(path.name[5:]) for path in uninterrupted.checkpoints()}
    assert steps == {3 * EPOCHS - 3, 3 * EPOCHS, best}


def test_changed_images_are_not_trained_on(make_config, tiles, tmp_path):
    data = tmp_path / "tiles"
    shutil.copytree(tiles, data)
    config, run = make_config(data=data), RunFolder(tmp_path / "run")
    interrupted(config, run, 2, "pause")
    next(data.iterdir()).unlink()
    with pytest.raises(DataError, match="images changed"):
        list(pretrain(config, run=run.path, resume=True))
    assert run.status().state == "failed"
