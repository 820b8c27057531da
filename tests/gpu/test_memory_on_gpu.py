"""The estimate of training memory against the bytes that a step keeps on a GPU until its backward pass."""

import numpy as np
import pytest
import torch
from fake_gpu import on_meta
from test_pretraining_on_gpu import new_engine

from napari_sdmae.models.memory_estimate import PROGRAM

MOST = 1.5
"""Times what is needed that the estimate may be; less than is needed it never is."""


def kept_bytes(engine, batch):
    """Return the bytes that the losses of a batch keep for their backward pass, each memory once, weights not."""
    weights, kept = {weight.untyped_storage()._cdata for weight in engine.model.parameters()}, {}

    def keep(tensor):
        memory = tensor.untyped_storage()
        if memory._cdata not in weights:
            kept[memory._cdata] = memory
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        engine._losses(0, np.arange(batch), np.arange(batch), True)
    return sum(memory.nbytes() for memory in kept.values())


def times(weights, count):
    """Return the bytes of `count` float32 numbers for each weight."""
    return sum(4 * count * weight.numel() for weight in weights)


@pytest.mark.parametrize(
    ("preset", "precision", "batch"),
    [("vit-small", "fp32", 4), ("vit-small", "bf16", 256), ("vit-base", "bf16", 64), ("paper-vit-small", "bf16", 256)],
)
def test_the_estimate_is_never_below_what_a_step_keeps(gpu, preset, precision, batch):
    # fewer blocks than the presets have: all are alike, and each takes the fake GPU its time
    engine, _ = new_engine(preset, batch, batch_size=batch, model={"encoder_depth": 4, "decoder_depth": 2})
    engine.precision = precision
    weights = list(engine.model.parameters())
    trained = [weight for weight in weights if weight.requires_grad]
    needed = times(weights, 1) + times(trained, 3) + kept_bytes(engine, batch)  # gradient, and the two moments of AdamW
    estimate = on_meta(engine.config, explicit=False, bf16=precision == "bf16")
    assert needed <= estimate.total - PROGRAM <= MOST * needed
