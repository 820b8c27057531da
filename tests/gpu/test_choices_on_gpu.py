"""Which device and which arithmetic is chosen where there is a GPU, and that a GPU is probed with enough work."""

import pytest
import torch
from fake_gpu import GPU

from napari_sdmae.inference import devices
from napari_sdmae.inference import precision as answering
from napari_sdmae.training import devices as training_devices
from napari_sdmae.training import precision as training


def test_a_gpu_is_chosen_and_named(gpu):
    assert training_devices.choose_device("auto") == ("cuda", "NVIDIA Fake: chosen as there is one")
    assert training_devices.choose_device("cuda") == ("cuda", "NVIDIA Fake as asked")
    assert training_devices.device_name(GPU) == "cuda:0 NVIDIA Fake"


def test_answers_come_from_the_gpu(monkeypatch):
    """With its memory, as the docks show it."""
    properties = type("Properties", (), {"name": "NVIDIA Fake", "total_memory": 80})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    assert devices.choose_device("auto") == "cuda"
    assert {"device": "cuda", "name": "NVIDIA Fake", "memory": 80} in devices.devices()


@pytest.mark.parametrize(("gain", "chosen"), [(1.0, "fp32"), (3.0, "bf16")])
def test_the_probe_decides_on_a_gpu_as_well(gpu, monkeypatch, gain, chosen):
    monkeypatch.setattr(training, "probe", lambda device: gain)
    monkeypatch.setattr(answering, "gain", lambda kind: gain)
    assert training.choose_precision("auto", GPU)[0] == chosen
    assert answering.chosen_precision(GPU) == chosen


@pytest.mark.parametrize(("device", "times"), [("cpu", 1), ("cuda", 64)])
def test_a_gpu_is_probed_with_as_many_images_as_fill_it(gpu, monkeypatch, device, times):
    """A few would time the start of its kernels, and fp32 would be taken on the fastest of all."""
    seen = []
    monkeypatch.setattr(training, "_step", lambda model, images, precision: seen.append(images))
    monkeypatch.setattr(answering, "_forward", lambda model, images, precision: seen.append(images))
    training.probe(torch.device(device), seconds=0)
    monkeypatch.setattr(answering, "SECONDS", 0)
    answering.gain.__wrapped__(device)
    assert [(images.device.type, len(images)) for images in (seen[0], seen[-1])] == [(device, 8 * times), (device, 4 * times)]
