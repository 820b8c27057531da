"""What is known before training: images first and quickly, memory after."""

import subprocess
import sys

import pytest

from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.humanize import size
from napari_sdmae.worker.handlers import preflight
from napari_sdmae.worker.protocol import QueryError, answer


def settings(data="/nowhere", **changes):
    return PretrainConfig.from_preset("cpu-demo", data=data, device="cpu", **changes).model_dump(mode="json")


def test_the_images_are_answered_without_torch(tissue):
    code = (
        "import sys\nfrom napari_sdmae.worker.protocol import answer\n"
        f"told = answer({{'kind': 'inspect', 'settings': {{'data': {str(tissue / 'tiles')!r}}}}})\n"
        "print(told['images'], [name for name in ('torch', 'timm') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=1) == [str(len(list(tissue.glob("tiles/*/*.jpg")))), "[]\n"]


def test_the_memory_is_said_in_words():
    told = answer({"kind": "training_memory", "settings": settings(), "tiles": 1000})
    assert (told["training_device"], told["tiles_at_once"]) == ("cpu", 64)
    assert 1.1e9 < told["training_memory"] < 1.4e9
    assert told["line"].startswith(f"training needs about {size(told['training_memory'])} of memory (")
    fewer = answer({"kind": "training_memory", "settings": settings(), "tiles": 10})
    assert fewer["training_memory"] < told["training_memory"]


@pytest.mark.parametrize(
    ("free", "fitting", "words"),
    [(1100e6, range(10, 40), "set “Tiles at once” (micro_batch) to"), (500e6, [0], "choose a smaller model or tile size")],
)
def test_too_much_is_said_with_what_to_do(monkeypatch, free, fitting, words):
    monkeypatch.setattr(preflight.psutil, "virtual_memory", lambda: Memory(int(free)))
    told = preflight.training_memory(settings())
    assert told["tiles_at_once"] in fitting
    assert words in told["line"]
    if told["tiles_at_once"]:
        assert f"{told['tiles_at_once']} or less" in told["line"]
        again = preflight.training_memory(settings(micro_batch=told["tiles_at_once"]))
        assert again["training_memory"] <= free
        assert "too much" not in again["line"]


class Memory:
    def __init__(self, available: int) -> None:
        self.available = self.total = available


def test_a_model_that_cannot_be_built_is_said():
    with pytest.raises(QueryError, match="timm has no model"):
        answer({"kind": "training_memory", "settings": settings(model={"encoder": "vit_nano"})})
