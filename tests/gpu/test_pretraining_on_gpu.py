"""Pre-training on a GPU that computes nothing: every preset's networks and losses, in both arithmetics, without a wait."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fake_gpu import GPU, alone, on_meta

from napari_sdmae.config.pretrain import HEADS, PretrainConfig
from napari_sdmae.data.batches.tile_loader import TileLoader
from napari_sdmae.training.loop.engine import is_out_of_memory
from napari_sdmae.training.loop.schedules import Schedule
from napari_sdmae.training.pretraining.engine import Engine
from napari_sdmae.training.pretraining.previews import Previewer

PRESETS = ("cpu-demo", "vit-tiny", "vit-small", "vit-base", "paper-vit-small", "pcam")
"""All networks and losses that are shipped; the other presets differ in their data alone."""
BATCH = 2
SHALLOW = {"encoder_depth": 1, "decoder_depth": 1}
"""All blocks are alike."""


def new_engine(preset="cpu-demo", tiles=2 * BATCH, **changes):
    values = {"batch_size": BATCH, "loss": {"p_start_epoch": 0}, "model": SHALLOW}
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
        {"distance": "cross_entropy", "centring": "sinkhorn", "target": "image", "target_normalisation": "patch_channel"},
        {"distance": "contrast", "target": "both", "target_normalisation": "none"},
        {"p": 0.0},
    ],
)
def test_no_loss_waits(gpu, loss):
    head = HEADS[loss.get("distance", "cross_entropy")]
    engine, _ = new_engine(model=SHALLOW | {"head": head}, loss={"p_start_epoch": 0, **loss}, optimizer={"clip_grad": 3.0})
    gpu.found.clear()
    engine.step(0)
    assert not gpu.found


@pytest.mark.parametrize(
    ("free", "needed", "kept"), [(10_000, 0, True), (4_000, 0, False), (10_000, 9_000, False)], ids=["room", "none", "needed"]
)
def test_tiles_come_without_a_wait_from_the_gpu_or_the_host(gpu, monkeypatch, free, needed, kept):
    """They are kept on the GPU where they leave it what training needs."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device=None: (free, free))
    loader = TileLoader(SimpleNamespace(tiles=np.zeros((10, 8, 8, 3), np.uint8)), GPU, needed=needed)
    assert loader.on_device == kept
    gpu.found.clear()
    for now, following in ((0, 2), (2, 4)):
        batch = loader.batch(np.arange(now, now + 2), np.arange(following, following + 2))
        assert (batch.device, batch.shape) == (GPU, (2, 8, 8, 3))
    assert not gpu.found


def test_the_tiles_are_told_what_training_needs(gpu, monkeypatch):
    told = {}
    monkeypatch.setattr("napari_sdmae.training.pretraining.engine.TileLoader", lambda cache, device, **named: told.update(named))
    engine, _ = new_engine()
    assert told["needed"] == on_meta(engine.config, explicit=False, bf16=False).total


def test_out_of_memory_halves_the_tiles_at_once(gpu, monkeypatch):
    engine, _ = new_engine("paper-vit-small")  # its centre is put back
    whole, emptied = engine._losses, []

    def only_one(step, indices, *rest):
        losses = whole(step, indices, *rest)
        if len(indices) > 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return losses

    monkeypatch.setattr(engine, "_losses", only_one)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(engine.micro_batch))
    assert engine.step(0).device == GPU
    assert (engine.micro_batch, emptied) == (1, [2])
    assert [warning.code for warning in engine.warnings] == ["out_of_memory"]


@pytest.mark.parametrize("words", ["CUDA out of memory", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED", "MPS backend out of memory"])
def test_a_gpu_says_in_many_words_that_it_is_full(words):
    assert is_out_of_memory(RuntimeError(words))
    assert not is_out_of_memory(RuntimeError("CUDA error: an illegal memory access was encountered"))


def test_a_checkpoint_comes_back_to_the_gpu(gpu):
    engine, _ = new_engine()
    engine.step(0)
    saved = {name: value.cpu() for name, value in engine.tensors().items()}
    engine.restore({name: value.cpu() for name, value in engine.model.state_dict().items()}, saved)
    assert {value.device for value in engine.tensors().values()} == {GPU}
    engine.step(1)


def test_previews_are_brought_back(gpu, monkeypatch, tmp_path):
    engine, cache = new_engine()
    monkeypatch.setattr("napari_sdmae.training.pretraining.previews.write_atomically", lambda path, content: None)
    Previewer(engine, cache).write(SimpleNamespace(previews_folder=tmp_path), 1)
    assert gpu.found["napari_sdmae/training/pretraining/previews.py:write cuda to cpu"] == 3
