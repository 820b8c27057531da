"""On what a run trains, in words; and no answer about other images or settings."""

from dataclasses import replace

import numpy as np
import pytest

from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.data.tiles.inspect import Inspection
from napari_sdmae.devices.info import DeviceInfo
from napari_sdmae.runs.preflight import ContactSheet, MemoryNeed
from napari_sdmae.widgets.finetune.preflight import LabelledPreflight
from napari_sdmae.widgets.pretrain.new_run_page import PretrainPage
from napari_sdmae.widgets.pretrain.preflight import Preflight
from napari_sdmae.widgets.runs.preflight import device_line
from napari_sdmae.worker.protocol import DevicesResult

DEVICES = DevicesResult(
    (DeviceInfo("cpu", "AMD EPYC", None), DeviceInfo("cuda", "NVIDIA H200", 150_000_000_000)), default="cuda", threads=8
)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("auto", "Device: cuda, NVIDIA H200, 150 GB memory"),
        ("cpu", "Device: cpu, AMD EPYC, 8 threads"),
        ("mps", "Device: this machine has no mps; choose another."),
    ],
)
def test_the_device_in_words(wanted, words):
    assert device_line(DEVICES, wanted) == words
    assert device_line(replace(DEVICES, threads=1), "cpu").endswith(" 1 thread")


class PlayedWorker:
    """Keeps what it is asked until a test lets it answer."""

    def __init__(self):
        self.asked = {}

    def submit(self, request, on_result, on_error, *, user, purpose=""):
        self.asked[purpose] = request, on_result

    def forget(self, user, purpose=""):
        self.asked.pop(purpose, None)

    def answer(self, purpose, answer):
        if purpose in self.asked:
            self.asked.pop(purpose)[1](answer)


INSPECTED = Inspection(3, [], 9, 9, False, 64, None, None, 0, 0, 0, cached=False, problem="")
TILES = np.zeros((2, 8, 8, 3), np.uint8)
SHEET = ContactSheet(TILES, TILES, np.zeros((2, 1, 1), bool), ("a", "b"), 8, 8)


@pytest.mark.gui
def test_an_answer_about_other_images_is_not_taken_for_one_about_these(qtbot, tmp_path):
    worker = PlayedWorker()
    for name in "ab":
        (tmp_path / name).mkdir()
    for preflight, config in ((Preflight(worker), PretrainConfig), (LabelledPreflight(worker), FinetuneConfig)):
        qtbot.addWidget(preflight)
        labelled = {"task": "segmentation", "model": "any"} if config is FinetuneConfig else {}
        purpose = "inspect_labelled" if labelled else "inspect"
        preflight.check(config(data=tmp_path / "a", **labelled))
        preflight._ask()
        preflight.check(config(data=tmp_path / "b", **labelled))
        worker.answer(purpose, INSPECTED)
        assert preflight.checking
        assert preflight.found is None
        preflight._ask()
        assert worker.asked[purpose][0].settings.data == tmp_path / "b"


@pytest.mark.gui
def test_tiles_and_memory_of_other_settings_go(qtbot, tmp_path):
    worker = PlayedWorker()
    preflight = Preflight(worker)
    qtbot.addWidget(preflight)
    config = PretrainConfig(data=tmp_path)
    preflight.check(config)
    preflight._ask()
    worker.answer("inspect", INSPECTED)
    worker.answer("training_memory", MemoryNeed(2, 1, "cpu", 0, "needs 2 GB"))
    preflight.show_sheet()
    worker.answer("contact_sheet", SHEET)
    assert (preflight.memory_note.text(), preflight.sheet_note.text()[:4]) == ("Needs 2 GB", "8 px")
    other = config.model_copy(update={"mask_ratio": 0.5})
    preflight.check(other)
    assert (preflight.memory_note.text(), preflight.sheet_note.text()) == ("", "")
    preflight.show_sheet()
    preflight.check(config)
    worker.answer("contact_sheet", SHEET)
    assert preflight.sheet_note.text() == ""
    assert preflight.sheet_button.isEnabled()


@pytest.mark.gui
def test_the_number_of_tiles_that_fits_is_one_click_away(qtbot, tmp_path):
    worker = PlayedWorker()
    page = PretrainPage(worker)
    qtbot.addWidget(page)
    preflight = page.preflight
    page.source.folder.set(tmp_path)
    preflight._ask()
    worker.answer("inspect", INSPECTED)
    worker.answer("training_memory", MemoryNeed(2, 1, "cpu", 208, "not enough memory"))
    assert not preflight.fit_button.isHidden()
    assert preflight.fit_button.text() == "Use 208 tiles at once"
    preflight.fit_button.click()
    assert page.config.micro_batch == 208
    assert preflight.fit_button.isHidden(), "until it is estimated again"
    preflight._ask()
    worker.answer("training_memory", MemoryNeed(1, 2, "cpu", 208, "enough"))
    assert preflight.fit_button.isHidden()
    preflight._ask()
    worker.answer("training_memory", MemoryNeed(2, 1, "cpu", 0, "not even one fits"))
    assert preflight.fit_button.isHidden()
