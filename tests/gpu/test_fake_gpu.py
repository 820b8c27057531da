"""The fake GPU refuses what a real one cannot do, and counts what would make it wait."""

import numpy as np
import pytest
import torch
from fake_gpu import GPU


def test_two_devices_do_not_mix(gpu):
    with pytest.raises(RuntimeError, match="at least two devices"):
        torch.zeros(3, device=GPU) + torch.zeros(3)


@pytest.mark.parametrize(
    "read",
    [
        lambda values: values.sum().item(),
        lambda values: bool((values > 0).any()),
        lambda values: values[values > 0],
        lambda values: values.nonzero(),
        lambda values: values.tolist(),
    ],
)
def test_its_numbers_are_not_read(gpu, read):
    with pytest.raises(AssertionError, match="needs a number of the GPU"):
        read(torch.zeros(3, device=GPU))


def test_it_is_no_array(gpu):
    with pytest.raises(TypeError, match="cpu"):
        torch.zeros(3, device=GPU).numpy()
    assert torch.zeros(2, 3, device=GPU).cpu().numpy().shape == (2, 3)


def test_copies_that_wait_are_counted(gpu):
    values = torch.from_numpy(np.zeros(3, np.float32))
    values.pin_memory().to(GPU, non_blocking=True)
    torch.zeros(3, device=GPU)
    assert not gpu.found
    values.to(GPU, non_blocking=True)  # not page-locked
    values.pin_memory().to(GPU)
    torch.tensor([1.0], device=GPU)
    torch.zeros(3, device=GPU).cpu()
    assert gpu.found == {"elsewhere cpu to cuda": 3, "elsewhere cuda to cpu": 1}
