"""How a run ends when asked to, when something is wrong, and what is left then."""

import itertools

import pytest
import torch
from PIL import Image

from napari_sdmae.data.image_folder import DataError
from napari_sdmae.devices.select import DeviceError
from napari_sdmae.runs.events import CheckpointSaved, Ended, Event, Preparing, Started, StepLogged, Warned
from napari_sdmae.runs.folder import RunFolderError
from napari_sdmae.training import RunFolder, pretrain
from napari_sdmae.training.loop.loop import DivergedError
from napari_sdmae.training.pretraining.engine import Engine, OutOfMemoryError

CODES = {
    "loss": {"distance": "cross_entropy", "target": "image", "p": 0.2, "teacher_gradient": False},
    "model": {"head": "projection"},
}
"""Self-distillation between codes, with Sinkhorn targets."""


def run_until(config, run: RunFolder) -> tuple[list[Event], Exception | None]:
    """Return the events of a run and the error it ended with."""
    events: list[Event] = []
    try:
        for event in pretrain(config, run=run.path):
            events.append(event)
    except Exception as error:
        return events, error
    return events, None


@pytest.mark.parametrize(("request_", "state"), [("stop", "stopped"), ("pause", "paused"), ("cancel", "cancelled")])
def test_a_request_is_answered_within_one_step(make_config, tmp_path, request_, state):
    run, asked_at = RunFolder(tmp_path / "run"), itertools.count(1)
    events = list(pretrain(make_config(), run=run.path, stop=lambda: request_ if next(asked_at) > 5 else None))
    logged = [event.step for event in events if isinstance(event, StepLogged)]
    assert isinstance(events[-1], Ended)
    assert (events[-1].state, events[-1].step) == (state, logged[-1])
    checkpoints = [event.step for event in events if isinstance(event, CheckpointSaved)]
    assert (checkpoints[-1:] == [logged[-1]]) == (request_ != "cancel")
    assert run.status().state == state


@pytest.mark.parametrize("step", [2, 3, 4])
def test_the_control_file_is_answered_in_the_same_step(make_config, tmp_path, step):
    run = RunFolder(tmp_path / "run")
    for event in pretrain(make_config(), run=run.path):
        if isinstance(event, StepLogged) and event.step == step:
            run.ask("pause")
    assert (event.state, event.step) == ("paused", step)


def test_a_folder_to_leave_out_that_is_not_there_is_said(make_config, tmp_path):
    config = make_config(tiles={"leave_out": ["Nowhere"]})
    said = [event.message for event in pretrain(config, run=tmp_path / "run") if isinstance(event, Warned)]
    assert f"There is no folder Nowhere to leave out in {config.data}" in said


def test_images_that_show_nothing_are_told_before_the_first_step(make_config, tmp_path):
    (tmp_path / "data").mkdir()
    for number in range(8):
        Image.new("RGB", (32, 32), (255, 255, 255)).save(tmp_path / "data" / f"{number}.png")
    (tmp_path / "data" / "slide.svs").write_bytes(b"x")
    config = make_config(data=tmp_path / "data", tiles={"cache": tmp_path / "cache"})
    events = itertools.takewhile(lambda event: not isinstance(event, StepLogged), pretrain(config, run=tmp_path / "run"))
    said = [event.message for event in events if isinstance(event, Warned) and event.code == "images"]
    assert [words.split(":")[0] for words in said[:2]] == [
        "left out, as pictures of these kinds are not read",
        "8 images, such as 0.png",
    ]
    assert "8 of 8 tiles hold nothing but one colour: there is nothing to learn from them" in said


def test_a_run_whose_images_are_all_left_out_leaves_no_folder(make_config, tiles, tmp_path):
    (tmp_path / "data" / "Back").mkdir(parents=True)
    (tmp_path / "data" / "Back" / "one.jpg").write_bytes(next(tiles.glob("*.jpg")).read_bytes())
    _, error = run_until(make_config(data=tmp_path / "data", tiles={"leave_out": ["back"]}), RunFolder(tmp_path / "run"))
    assert isinstance(error, DataError)
    assert "without back" in str(error)
    assert not (tmp_path / "run").exists()


def test_a_request_while_preparing_is_answered_there(make_config, tmp_path):
    run = RunFolder(tmp_path / "run")
    config = make_config(tiles={"cache": tmp_path / "fresh"})
    for event in pretrain(config, run=run.path):
        if isinstance(event, Preparing):
            run.ask("stop")
        assert not isinstance(event, Started)
    assert (event.state, event.step) == ("stopped", 0)
    assert "nothing was saved yet" in run.status().message
    for event in pretrain(config, run=run.path, resume=True):
        if isinstance(event, StepLogged) and event.step == 4:
            run.ask("pause")
    events = list(pretrain(config, run=run.path, resume=True, stop=lambda: "stop"))
    assert (events[-1].state, events[-1].step, run.status().step) == ("stopped", 4, 4)
    assert "step 4 is kept" in run.status().message
    assert list(pretrain(config, run=run.path, resume=True))[-1].state == "finished"


def test_leaving_the_loop_is_a_cancelled_run_that_can_be_resumed(make_config, tmp_path):
    run = RunFolder(tmp_path / "run")
    for event in pretrain(make_config(), run=run.path):
        if isinstance(event, StepLogged) and event.step == 4:
            break
    assert run.status().state == "cancelled"
    assert list(pretrain(make_config(), run=run.path, resume=True))[-1].state == "finished"


def test_a_full_disk_keeps_the_last_checkpoint_and_says_so(jobs, make_config, tmp_path):
    config, run, reference = make_config(), RunFolder(tmp_path / "run"), RunFolder(tmp_path / "reference")
    list(pretrain(config, run=reference.path))
    for event in pretrain(config, run=run.path):
        if isinstance(event, StepLogged) and event.step == 4:
            run.ask("pause")
    before = (run.model / "model.safetensors").read_bytes()
    assert len(before) > 50_000
    assert jobs.wait(jobs.start("resume", run.path, largest_file=50_000)) == 1
    assert run.status().state == "failed"
    assert "step 6 could not be saved (File too large); the last good one is step-000004" in run.status().message
    assert [path.name for path in run.checkpoints()] == ["step-000003", "step-000004"]
    assert (run.model / "model.safetensors").read_bytes() == before
    assert not list(run.path.rglob(".*tmp*"))
    assert jobs.wait(jobs.start("resume", run.path)) == 0
    assert (run.model / "model.safetensors").read_bytes() == (reference.model / "model.safetensors").read_bytes()


def losses(events: list[Event]) -> list[float]:
    return [event.metrics["total"] for event in events if isinstance(event, StepLogged)]


@pytest.fixture
def small_memory(monkeypatch):
    """Return a function after which a forward pass of more than so many tiles runs out of memory."""
    real = Engine._losses

    def limit(most: int, error: type[Exception] = torch.OutOfMemoryError) -> None:
        def hungry(self, step, indices, following, last):
            result = real(self, step, indices, following, last)
            if len(indices) > most:
                raise error("CUDA out of memory. Tried to allocate 20.00 GiB\nmore lines")
            return result

        monkeypatch.setattr(Engine, "_losses", hungry)

    return limit


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError])
def test_out_of_memory_halves_the_tiles_at_once_and_changes_no_loss(make_config, tmp_path, small_memory, error):
    config = make_config(**CODES | {"loss": CODES["loss"] | {"centring": "probability"}})
    plain = list(pretrain(config, run=tmp_path / "plain"))
    small_memory(3, error)
    run = RunFolder(tmp_path / "run")
    events = list(pretrain(config, run=run.path))
    assert losses(events) == pytest.approx(losses(plain), abs=1e-5)
    messages = [event.message for event in events if isinstance(event, Warned) and event.code == "out_of_memory"]
    assert len(messages) == 2
    assert "4 tiles at once instead of 8" in messages[0]
    assert "2 tiles at once instead of 4" in messages[1]
    assert "Sinkhorn" not in messages[0]
    assert run.status().warnings[-2:] == tuple(messages)
    assert '"micro_batch": 2' in (run.checkpoint(9) / "training.json").read_text()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (CODES, "Sinkhorn targets and the diagnostics are computed in each part"),
        ({}, "compared with those of its own part only"),
        ({"loss": {"p": 0}}, None),
    ],
)
def test_out_of_memory_says_what_changes(make_config, tmp_path, small_memory, changes, words):
    small_memory(4)
    events = list(pretrain(make_config(epochs=1, **changes), run=tmp_path / "run"))
    (message,) = (event.message for event in events if isinstance(event, Warned) and event.code == "out_of_memory")
    assert words in message if words else message.endswith("accumulated")


def test_out_of_memory_with_one_tile_fails_clearly(make_config, tmp_path, small_memory):
    small_memory(0)
    run = RunFolder(tmp_path / "run")
    events, error = run_until(make_config(), run)
    assert isinstance(error, OutOfMemoryError)
    assert events[-1] == Ended("failed", 0, str(error))
    assert "one tile at a time" in run.status().message
    assert "choose a smaller model" in run.status().message


def test_an_error_of_torch_is_told_in_one_line_and_logged_in_full(make_config, tmp_path, monkeypatch):
    def broken(self, step):
        return torch.zeros(2, 3) @ torch.zeros(2, 3)

    monkeypatch.setattr(Engine, "step", broken)
    run = RunFolder(tmp_path / "run")
    events, error = run_until(make_config(), run)
    assert isinstance(error, RuntimeError)
    assert events[-1].state == run.status().state == "failed"
    assert "\n" not in run.status().message
    assert "Traceback" in run.log.read_text()


def test_a_loss_that_is_no_number_ends_the_run_before_it_is_saved(make_config, tmp_path):
    config, run = make_config(log_every=100), RunFolder(tmp_path / "run")
    real = Engine.step

    def spoilt(self, step):
        return real(self, step) * (float("nan") if step == 4 else 1.0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "step", spoilt)
        _, error = run_until(config, run)
    assert isinstance(error, DivergedError)
    assert [path.name for path in run.checkpoints()] == ["step-000003"]


@pytest.mark.parametrize(("step", "there"), [(4, "the last good one is step-000003"), (2, "there is none yet")])
def test_weights_that_are_no_numbers_are_not_saved(make_config, tmp_path, step, there):
    run = RunFolder(tmp_path / "run")
    real = Engine.step

    def spoilt(self, number):
        values = real(self, number)
        if number == step:  # the loss before this update was still a number
            with torch.no_grad():
                self.model.mask_token[..., 0] = float("nan")
        return values

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "step", spoilt)
        for event in (events := pretrain(make_config(preview_every=10), run=run.path)):
            if isinstance(event, StepLogged) and event.step == step + 1:
                run.ask("pause")
                with pytest.raises(DivergedError, match=there):
                    list(events)
    assert [path.name for path in run.checkpoints()] == (["step-000003"] if step == 4 else [])


def test_unusable_data_fails_with_a_message(make_config, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "broken.png").write_bytes(b"no picture")
    run = RunFolder(tmp_path / "run")
    _, error = run_until(make_config(data=tmp_path / "data"), run)
    assert isinstance(error, DataError)
    assert run.status().state == "failed"
    assert run.status().message == str(error)
    assert list(pretrain(make_config(), run=run.path))[-1].state == "finished"  # its name was free again


@pytest.mark.parametrize("name", ["empty", "missing"])
def test_a_folder_without_images_is_refused_before_the_run_folder_is_made(make_config, tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no images|no folder"):
        list(pretrain(make_config(data=tmp_path / name), run=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_device_that_is_not_there_is_refused_and_leaves_no_folder(make_config, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="choose cpu"):
        list(pretrain(make_config(device="cuda"), run=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("changes", [{"mask_ratio": 0.01}, {"model": {"encoder": "vit_tiny_patch16_223"}}])
def test_settings_that_cannot_work_leave_no_folder(make_config, tmp_path, changes):
    with pytest.raises(ValueError, match=r"mask ratio|timm"):
        list(pretrain(make_config(**changes), run=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_folder_with_a_run_is_refused_and_untouched(make_config, tmp_path):
    run = RunFolder(tmp_path / "run")
    list(pretrain(make_config(), run=run.path))
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    with pytest.raises(RunFolderError, match="sdmae resume"):
        list(pretrain(make_config(), run=run.path))
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before
