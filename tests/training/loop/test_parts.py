"""Optimizer groups, means, precision, devices, previews, recorder: the parts by themselves."""

import json
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

from napari_sdmae.config.pretrain import LossConfig, OptimizerConfig, PretrainConfig
from napari_sdmae.data.image_folder import DataError
from napari_sdmae.losses.sdmae import SDMAELoss
from napari_sdmae.models import SDMAE
from napari_sdmae.models.patches import gather_tokens, patchify
from napari_sdmae.runs.events import Ended, EpochFinished, Preparing, PreviewWritten, Started, StepLogged, Warned
from napari_sdmae.runs.recorder import record
from napari_sdmae.training import RunFolder, pretrain
from napari_sdmae.training.loop.averages import RunningMean
from napari_sdmae.training.loop.optim import build_optimizer
from napari_sdmae.training.loop.processes import launch
from napari_sdmae.training.pretraining.pretrain import plan
from napari_sdmae.training.pretraining.views import make_views

CPU = torch.device("cpu")


def test_biases_norms_and_tokens_are_not_decayed(make_config):
    model = SDMAE(make_config().model)
    decayed, free = build_optimizer(model, OptimizerConfig(weight_decay=0.05)).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.05, 0.0)
    assert {names[id(parameter)].rsplit(".", 1)[-1] for parameter in decayed["params"]} == {"weight"}
    assert all(parameter.ndim > 1 for parameter in decayed["params"])
    undecayed = {names[id(parameter)] for parameter in free["params"]}
    assert {"mask_token", "encoder.norm.weight", "encoder.blocks.0.attn.qkv.bias"} <= undecayed
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert undecayed | {names[id(parameter)] for parameter in decayed["params"]} == trainable


def test_the_tokens_of_any_encoder_are_not_decayed(make_config):
    config = make_config(model={"encoder": "vit_base_patch14_reg4_dinov2", "position": "encoder", "class_token": True}).model
    model = SDMAE(config)
    _, free = build_optimizer(model, OptimizerConfig(weight_decay=0.05)).param_groups
    tokens = [model.mask_token, model.encoder.cls_token, model.encoder.reg_token, model.encoder.pos_embed]
    assert {id(token) for token in tokens} <= {id(parameter) for parameter in free["params"]}


def test_means_go_on_from_their_state_to_the_last_bit():
    values = torch.rand(7, 2, generator=torch.Generator().manual_seed(0))
    whole, first = RunningMean(CPU), RunningMean(CPU)
    for value in values:
        whole.add(("a", "b"), value)
    for value in values[:3]:
        first.add(("a", "b"), value)
    second = RunningMean(CPU, json.loads(json.dumps(first.state())))
    for value in values[3:]:
        second.add(("a", "b"), value)
    assert second.state() == whole.state()
    assert second.take() == whole.take()
    assert second.take() == {}


def test_a_single_process_ignores_a_slurm_allocation(monkeypatch):
    for name, value in {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "4", "SLURM_JOB_NAME": "bash"}.items():
        monkeypatch.setenv(name, value)
    world = launch("cpu")
    assert (world.rank, world.size, world.device) == (0, 1, CPU)


def test_a_bf16_run_trains(make_config, tmp_path):
    logged = [
        event.metrics["total"]
        for event in pretrain(make_config(precision="bf16"), run=tmp_path / "run")
        if isinstance(event, StepLogged)
    ]
    plain = [event.metrics["total"] for event in pretrain(make_config(), run=tmp_path / "plain") if isinstance(event, StepLogged)]
    assert logged == pytest.approx(plain, rel=0.02)
    assert logged != plain


def test_learning_lowers_the_loss(make_config, tmp_path):
    config = make_config(epochs=30, loss={"p": 0.0}, optimizer={"base_lr": 0.05}, preview_every=30, checkpoint_every=30)
    events = list(pretrain(config, run=tmp_path / "run"))
    epochs = [event.metrics["reconstruction"] for event in events if isinstance(event, EpochFinished)]
    assert epochs[-1] < 0.9 * epochs[0]


def test_a_batch_larger_than_the_data_is_made_smaller_and_said(make_config, tmp_path):
    run = RunFolder(tmp_path / "run")
    events = list(pretrain(make_config(batch_size=4000, epochs=2), run=run.path))
    started = next(event for event in events if isinstance(event, Started))
    assert (started.steps_per_epoch, started.total_steps) == (1, 2)
    assert any("batch is 26 instead of 4000" in event.message for event in events if isinstance(event, Warned))
    assert events[-1].state == "finished"


def test_the_plan_shares_a_batch_evenly_or_refuses():
    config = PretrainConfig(data="x", batch_size=9)
    with pytest.raises(ValueError, match="multiple of 2"):
        plan(config, 100, 2)
    with pytest.raises(DataError, match="1 tile for 2 processes"):
        plan(config, 1, 2)
    schedule, warnings = plan(config.model_copy(update={"batch_size": 512}), 1025, 2)
    assert (schedule.steps_per_epoch, schedule.peak_lr, warnings) == (2, pytest.approx(6e-4), [])  # two views of each tile
    alone, _ = plan(config.model_copy(update={"batch_size": 512, "loss": LossConfig(p=0)}), 1025, 2)
    assert alone.peak_lr == pytest.approx(3e-4)


@pytest.mark.parametrize(
    ("epochs", "start", "warmup", "words"),
    [(5, 5, 1, ["plain MAE"]), (6, 5, 5, []), (3, 1, 5, ["warm-up"]), (2, 5, 5, ["plain MAE", "warm-up"])],
)
def test_a_run_too_short_for_its_schedule_is_told(epochs, start, warmup, words):
    config = PretrainConfig(data="x", epochs=epochs, loss={"p_start_epoch": start}, optimizer={"warmup_epochs": warmup})
    warnings = plan(config, 1024, 1)[1]
    assert [warning.code for warning in warnings] == ["schedule"] * len(words)
    assert all(word in warning.message for word, warning in zip(words, warnings, strict=True))
    without = config.model_copy(update={"loss": config.loss.model_copy(update={"p": 0.0})})
    assert not any("MAE" in warning.message for warning in plan(without, 1024, 1)[1])


def test_previews_show_the_same_tiles_under_the_same_masks(make_config, tmp_path):
    run = RunFolder(tmp_path / "run")
    events = list(pretrain(make_config(preview_every=2), run=run.path))
    assert [event.epoch for event in events if isinstance(event, PreviewWritten)] == [2, 3]
    first, last = (np.load(path) for path in run.previews())
    for name in ("input", "masked", "reconstruction"):
        assert (first[name].shape, first[name].dtype) == ((2, 32, 32, 3), np.uint8)
    assert (first["error"].shape, first["error"].dtype) == ((2, 32, 32), np.float32)
    np.testing.assert_array_equal(first["masked"], last["masked"])
    assert not np.array_equal(first["reconstruction"], last["reconstruction"])
    hidden = (first["masked"] != first["input"]).any(axis=-1)
    assert 0.4 < hidden.mean() < 0.7
    assert (first["error"][~hidden] == 0).all()
    with Image.open(run.previews()[0].with_suffix(".png")) as sheet:
        assert sheet.size == (4 * 32 + 3 * 4, 2 * 32 + 4)


def test_the_run_folder_holds_what_repeats_the_run(make_config, tmp_path):
    run, config = RunFolder(tmp_path / "run"), make_config()
    list(pretrain(config, run=run.path))
    assert run.read_config() == config
    environment = json.loads(run.environment.read_text())
    assert environment["torch_build"] == torch.__version__
    assert (environment["device"], environment["precision"], environment["threads"]) == ("cpu", "fp32", 1)
    assert environment["data_fingerprint"]
    assert run.command.read_text().strip()
    names = ".owner checkpoints command.txt config.yaml environment.json log.txt metrics.jsonl model previews status.json"
    assert sorted(path.name for path in run.path.iterdir()) == names.split()


def test_a_model_of_a_run_can_be_loaded(make_config, tmp_path):
    from napari_sdmae.io.checkpoints.load import load_model

    list(pretrain(make_config(), run=tmp_path / "run"))
    assert load_model(tmp_path / "run").config == make_config().model


@pytest.mark.parametrize(("areas", "expected"), [((1.0, 1.0), 1.0), ((0.25, 0.25), 0.5), ((0.08, 0.4), 0.47)])
def test_the_scale_of_a_model_is_that_of_a_typical_crop_as_it_saw_it(make_config, tmp_path, areas, expected):
    tiles, model = {"tile_px": 128, "mpp": 0.5}, {"tile_size": 64}
    config = make_config(epochs=1, tiles=tiles, model=model, augmentation={"crop_scale": areas})
    list(pretrain(config, run=tmp_path / "run"))
    assert json.loads((tmp_path / "run" / "model" / "config.json").read_text())["mpp"] == pytest.approx(expected, abs=0.01)


def test_unusable_files_are_listed(make_config, tiles, tmp_path):
    data, run = tmp_path / "data", RunFolder(tmp_path / "run")
    data.mkdir()
    for path in tiles.iterdir():
        (data / path.name).symlink_to(path)
    (data / "broken.png").write_bytes(b"no picture")
    events = list(pretrain(make_config(data=data), run=run.path))
    assert any(event.code == "quarantine" for event in events if isinstance(event, Warned))
    assert run.quarantine.read_text().splitlines()[1].startswith("broken.png,")


def test_a_collapse_is_told_once(make_config, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_sdmae.training.loop.loop.collapse_warning", lambda metrics: "it has collapsed")
    run = RunFolder(tmp_path / "run")
    events = list(pretrain(make_config(), run=run.path))
    assert [event.message for event in events if isinstance(event, Warned) and event.code == "collapse"] == ["it has collapsed"]
    assert run.status().warnings == ("it has collapsed",)


@pytest.mark.parametrize(("loss", "told"), [({"target": "image"}, 0), ({}, 1)])
def test_a_collapse_is_not_read_from_few_images_at_once(make_config, tmp_path, monkeypatch, loss, told):
    monkeypatch.setattr("napari_sdmae.training.loop.loop.collapse_warning", lambda metrics: "it has collapsed")
    events = list(pretrain(make_config(epochs=1, micro_batch=7, loss=loss), run=tmp_path / "run"))
    assert sum(isinstance(event, Warned) and event.code == "collapse" for event in events) == told


@pytest.fixture
def run(tmp_path, make_config) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.claim(make_config(), resume=False)
    return folder


def test_the_heart_beats_while_nothing_happens(run, monkeypatch):
    monkeypatch.setattr("napari_sdmae.runs.recorder.HEARTBEAT_S", 0.05)
    events = record(iter([Preparing(0, 1, "a long wait"), Ended("finished", 0)]), run)
    next(events)
    before = run.status().beat
    deadline = time.monotonic() + 60
    while run.status().beat == before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert run.status().beat > before
    assert run.status().message == "preparing 0/1: a long wait"
    list(events)
    assert not [thread for thread in threading.enumerate() if thread.name == "heartbeat"]


def test_an_error_before_the_first_event_touches_nothing(run):
    before = run.status_file.read_bytes()

    def refused():
        raise ValueError("not yours")
        yield

    with pytest.raises(ValueError, match="not yours"):
        list(record(refused(), run))
    assert run.status_file.read_bytes() == before
    assert not run.log.exists()


@pytest.fixture
def shown(monkeypatch):
    """Return the list of what the model is given, filled while training."""
    real, calls = SDMAE.forward, []

    def forward(self, images, mask, masked=None, per_token=False, heads=True, pair_indices=None):
        if torch.is_grad_enabled():
            calls.append((images, mask, pair_indices))
        return real(self, images, mask, masked, per_token, heads, pair_indices)

    monkeypatch.setattr(SDMAE, "forward", forward)
    return calls


def test_students_and_teachers_are_of_the_same_tissue(make_config, tmp_path, shown):
    """Without jitter the very same pixels, elsewhere in the other view; a student's patch is visible."""
    for name, jitter in (("plain", 0.0), ("stained", 0.5)):
        changes = {"augmentation": {"stain_jitter": jitter, "crop_scale": (0.2, 0.5)}, "loss": {"compared_patches": 2}}
        list(pretrain(make_config(epochs=1, **changes), run=tmp_path / name))
    for (images, mask, (students, teachers)), same in ((shown[0], True), (shown[3], False)):
        assert mask.shape == (16, 16)
        assert students.shape == teachers.shape == (16, 2)
        assert not mask.gather(1, students).any()
        meant = teachers.roll(8, 0)
        assert (meant != students).any(1).float().mean() > 0.3
        seen = gather_tokens(patchify(images, 8), students)
        there = gather_tokens(patchify(images.roll(8, 0), 8), meant)
        assert bool((seen - there).abs().max() < 1e-4) == same
        assert (images[:8] - images[8:]).abs().mean() > 0.05


def test_whole_tiles_alone_are_compared_without_patches(make_config, tmp_path, shown):
    list(pretrain(make_config(epochs=1, loss={"target": "image"}), run=tmp_path / "run"))
    _, _, (students, teachers) = shown[0]
    assert students.shape == teachers.shape == (16, 0)


def test_without_distillation_each_tile_is_shown_once(make_config, tmp_path, shown):
    list(pretrain(make_config(epochs=1, loss={"p": 0.0}), run=tmp_path / "run"))
    assert [(len(images), pair_indices) for images, _, pair_indices in shown] == [(8, None)] * 3


@pytest.mark.parametrize("preset", ["cpu-demo", "vit-small", "paper-vit-small"])
@pytest.mark.parametrize("value", [255, 0])
def test_losses_of_pictures_that_show_nothing_are_numbers(preset, value):
    """All white or all black: no spread to divide by, no stain to change, the same token everywhere."""
    small = {"tile_size": 64, "encoder_width": 48, "encoder_depth": 1, "encoder_heads": 3, "head_hidden": 32, "head_outputs": 64}
    shipped = PretrainConfig.from_preset(preset, data="x", model=small)
    config = shipped.model_copy(update={"loss": shipped.loss.model_copy(update={"p_start_epoch": 0.0, "p_ramp_epochs": 0.0})})
    shown = make_views(torch.full((2, 80, 80, 3), value, dtype=torch.uint8), np.arange(2), 0, config)
    model, loss = SDMAE(config.model), SDMAELoss(config.loss, config.model.head_outputs)
    images = model.normalise(shown.images)
    output = model(images, shown.mask, per_token=config.loss.target == "token", pair_indices=shown.pair_indices)
    losses = loss(output, images, shown.mask, 0.0)
    losses.total.backward()
    assert all(number.isfinite() for number in (losses.total, *losses.diagnostics.values()))
    assert all(weight.grad.isfinite().all() for weight in model.parameters() if weight.grad is not None)
