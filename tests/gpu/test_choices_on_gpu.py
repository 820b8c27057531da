"""Which device and which arithmetic is chosen where there is a GPU, and that a GPU is probed with enough work."""

import pytest
import torch
from fake_gpu import GPU

from napari_sdmae.devices import precision, select


def test_a_gpu_is_chosen_and_named(gpu):
    assert select.select_device("auto") == ("cuda", "NVIDIA Fake: chosen as there is one")
    assert select.select_device("cuda") == ("cuda", "NVIDIA Fake as asked")
    assert select.device_name(GPU) == "cuda:0 NVIDIA Fake"


def test_answers_come_from_the_gpu(monkeypatch):
    """With its memory, as the docks show it."""
    properties = type("Properties", (), {"name": "NVIDIA Fake", "total_memory": 80})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    assert select.select_device("auto").device == "cuda"
    assert ("cuda", "NVIDIA Fake", 80) in select.list_devices()


@pytest.mark.parametrize(("gain", "chosen"), [(1.0, "fp32"), (3.0, "bf16")])
def test_the_probe_decides_on_a_gpu_as_well(gpu, monkeypatch, gain, chosen):
    monkeypatch.setattr(precision, "training_gain", lambda kind: gain)
    monkeypatch.setattr(precision, "answering_gain", lambda kind: gain)
    for training in (True, False):
        assert precision.select_precision("auto", GPU, training=training).precision == chosen


@pytest.mark.parametrize(("device", "times"), [("cpu", 1), ("cuda", 64)])
def test_a_gpu_is_probed_with_as_many_images_as_fill_it(gpu, monkeypatch, device, times):
    """A few would time the start of its kernels, and fp32 would be taken on the fastest of all."""
    seen = []
    monkeypatch.setattr(precision, "_train", lambda model, images, arithmetic: seen.append(images))
    monkeypatch.setattr(precision, "_answer", lambda model, images, arithmetic: seen.append(images))
    precision.training_gain.__wrapped__(device, seconds=0)
    precision.answering_gain.__wrapped__(device, seconds=0)
    assert [(images.device.type, len(images)) for images in (seen[0], seen[-1])] == [(device, 8 * times), (device, 4 * times)]
