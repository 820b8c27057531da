"""What is known before training: images first and quickly, memory after."""

import subprocess
import sys

import pytest

from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.humanize import size
from napari_sdmae.training.pretraining import memory
from napari_sdmae.worker.protocol import TrainingMemoryRequest, WorkerError, handle


def settings(data="/nowhere", **changes):
    return PretrainConfig.from_preset("cpu-demo", data=data, device="cpu", **changes)


def test_the_images_are_answered_without_torch(tissue):
    code = (
        "import sys\nfrom napari_sdmae.config.pretrain import PretrainConfig\n"
        "from napari_sdmae.worker.protocol import InspectRequest, handle\n"
        f"told = handle(InspectRequest(PretrainConfig(data={str(tissue / 'tiles')!r})))\n"
        "print(told.images, [name for name in ('torch', 'timm') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=1) == [str(len(list(tissue.glob("tiles/*/*.jpg")))), "[]\n"]


def test_the_memory_is_said_in_words():
    told = handle(TrainingMemoryRequest(settings(), 1000))
    assert (told.device, told.tiles_at_once) == ("cpu", 64)
    assert 1.1e9 < told.needed < 1.4e9
    assert told.line.startswith(f"training needs about {size(told.needed)} of memory (")
    fewer = handle(TrainingMemoryRequest(settings(), 10))
    assert fewer.needed < told.needed


@pytest.mark.parametrize(
    ("free", "fitting", "words"),
    [(1100e6, range(10, 40), "set “Tiles at once” (micro_batch) to"), (500e6, [0], "choose a smaller model or tile size")],
)
def test_too_much_is_said_with_what_to_do(monkeypatch, free, fitting, words):
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: Memory(int(free)))
    told = memory.memory_need(settings())
    assert told.tiles_at_once in fitting
    assert words in told.line
    if told.tiles_at_once:
        assert f"{told.tiles_at_once} or less" in told.line
        again = memory.memory_need(settings(micro_batch=told.tiles_at_once))
        assert again.needed <= free
        assert "too much" not in again.line


class Memory:
    def __init__(self, available: int) -> None:
        self.available = self.total = available


def test_a_model_that_cannot_be_built_is_said():
    with pytest.raises(WorkerError, match="timm has no model"):
        handle(TrainingMemoryRequest(settings(model={"encoder": "vit_nano"})))
