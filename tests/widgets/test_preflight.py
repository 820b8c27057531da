"""On what a run trains, in words."""

import pytest

from napari_sdmae.widgets._preflight import device_line

DEVICES = {
    "default": "cuda",
    "threads": 8,
    "devices": [
        {"device": "cpu", "name": "AMD EPYC", "memory": None},
        {"device": "cuda", "name": "NVIDIA H200", "memory": 150_000_000_000},
    ],
}


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("auto", "device: cuda, NVIDIA H200, 150 GB memory"),
        ("cpu", "device: cpu, AMD EPYC, 8 threads"),
        ("mps", "device: this machine has no mps; choose another"),
    ],
)
def test_the_device_in_words(wanted, words):
    assert device_line(DEVICES, wanted) == words
