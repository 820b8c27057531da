"""Pre-training on a GPU that computes nothing: every preset's networks and losses, in both arithmetics, without a wait."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fake_gpu import GPU, alone

from napari_sdmae.config import PretrainConfig
from napari_sdmae.training.engine import Engine
from napari_sdmae.training.previews import Previewer
from napari_sdmae.training.schedules import Schedule

PRESETS = ("cpu-demo", "vit-tiny", "vit-small", "vit-base", "paper-vit-small", "pcam")
"""All networks and losses that are shipped; the other presets differ in their data alone."""
BATCH = 4


def new_engine(preset="cpu-demo", tiles=2 * BATCH, **changes):
    values = {"batch_size": BATCH, "loss": {"p_start_epoch": 0}, "model": {"encoder_depth": 2, "decoder_depth": 1}}
    config = PretrainConfig.from_preset(preset, data="x", **{name: values.get(name, {}) for name in values} | changes)
    edge = config.model.tile_size + 32
    cache = SimpleNamespace(tiles=np.zeros((tiles, edge, edge, 3), np.uint8))
    return Engine(config, cache, Schedule(tiles, BATCH, 10, 1e-3, 1e-5, 1, 0), alone(), "fp32"), cache


@pytest.mark.parametrize("preset", PRESETS)
def test_no_step_waits(gpu, preset):
    engine, _ = new_engine(preset)
    gpu.found.clear()
    for step, engine.precision in enumerate(("fp32", "bf16")):
        metrics = engine.step(step)
        assert (metrics.device, metrics.shape) == (GPU, (len(engine.metric_names),))
    assert not gpu.found
    assert all(tensor.device == GPU for tensor in engine.tensors().values())


@pytest.mark.parametrize(
    "loss",
    [
        {"distance": "smooth_l1", "target": "token"},
        {"distance": "cosine", "target": "token", "teacher_gradient": False},
        {"distance": "cross_entropy", "centring": "none", "target": "token"},
        {"distance": "cross_entropy", "centring": "sinkhorn", "target": "image", "target_normalisation": "patch_channel"},
        {"distance": "contrast", "target": "both", "target_normalisation": "none"},
        {"p": 0.0},
    ],
)
def test_no_loss_waits(gpu, loss):
    head = {"smooth_l1": "predictor", "cosine": "predictor", "contrast": "embedding"}.get(loss.get("distance"), "projection")
    model = {"encoder_depth": 1, "decoder_depth": 1, "head": head}
    engine, _ = new_engine(model=model, loss={"p_start_epoch": 0, **loss}, optimizer={"clip_grad": 3.0})
    gpu.found.clear()
    engine.step(0)
    assert not gpu.found


@pytest.mark.parametrize(("free", "kept"), [(80 * 2**30, True), (2**20, False)])
def test_tiles_come_without_a_wait_from_the_gpu_or_the_host(gpu, monkeypatch, free, kept):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device=None: (free, free))
    engine, _ = new_engine()
    gpu.found.clear()
    engine.step(0)
    assert engine.loader.on_device == kept
    assert not gpu.found


def test_tiles_stay_on_the_host_where_training_needs_the_gpu(gpu, monkeypatch):
    engine, cache = new_engine()
    needed = engine._memory()
    for free, kept in ((needed + 2 * cache.tiles.nbytes, True), (needed, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device=None, free=free: (free, free))
        assert new_engine()[0].loader.on_device == kept


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_out_of_memory_halves_the_tiles_at_once(gpu, monkeypatch, error):
    engine, _ = new_engine("paper-vit-small")  # its centre is put back
    whole, emptied = engine._losses, []

    def only_one(step, indices, *rest):
        if len(indices) > 1:
            raise error
        return whole(step, indices, *rest)

    monkeypatch.setattr(engine, "_losses", only_one)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(engine.micro_batch))
    metrics = engine.step(0)
    assert metrics.device == GPU
    assert engine.micro_batch == 1
    assert emptied == [4, 2]
    assert [warning.code for warning in engine.warnings] == ["out_of_memory"] * 2


def test_a_checkpoint_comes_back_to_the_gpu(gpu):
    engine, _ = new_engine()
    engine.step(0)
    saved = {name: value.cpu() for name, value in engine.tensors().items()}
    engine.restore({name: value.cpu() for name, value in engine.model.state_dict().items()}, saved)
    assert {value.device for value in engine.tensors().values()} == {GPU}
    engine.step(1)


def test_previews_are_brought_back(gpu, monkeypatch, tmp_path):
    engine, cache = new_engine()
    monkeypatch.setattr("napari_sdmae.training.previews.write_atomically", lambda path, content: None)
    Previewer(engine, cache).write(SimpleNamespace(previews_folder=tmp_path), 1)
    assert gpu.found["napari_sdmae/training/previews.py:write cuda to cpu"] == 3
