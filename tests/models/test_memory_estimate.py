"""The estimate of training memory against the peak of real runs, in a process of their own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.models.memory_estimate import TrainingMemory, training_memory

MEASURE = """
import gc, json, sys, threading, time
from pathlib import Path
import psutil
import napari_sdmae.training.pretraining.pretrain
from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.training import pretrain
from napari_sdmae.runs.events import StepLogged
process, readings, peaks = psutil.Process(), [], []
def watch():
    while True:
        readings.append(process.memory_info().rss)
        time.sleep(0.005)
threading.Thread(target=watch, daemon=True).start()
for number, settings in enumerate(sys.argv[2:]):
    readings.clear()
    events = pretrain(PretrainConfig.model_validate_json(settings), run=Path(sys.argv[1]) / str(number))
    logged = (event for event in events if isinstance(event, StepLogged))
    for _ in range(2):  # the second step is the first with the state of the optimizer
        next(logged)
    peaks.append(max(readings))
    events.close()
    del logged, events
    gc.collect()
print(json.dumps(peaks))
"""
AT_ONCE = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
"""glibc gives freed memory back at once: the peak is then what the run holds, the same every time, not what malloc keeps."""
CASES = {
    "cpu-demo": {"batch_size": 64},
    "vit-tiny": {"batch_size": 16, "model": {"tile_size": 96, "patch_size": 8}},
}


def settings(preset, data="x", **changes):
    return PretrainConfig.from_preset(preset, data=data, device="cpu", precision="fp32", log_every=1, **changes)


@pytest.mark.parametrize("preset", CASES)
def test_the_estimate_is_that_of_a_real_run(preset, tissue, tmp_path):
    data = tmp_path / "tiles"
    data.mkdir()
    for path in sorted((tissue / "tiles").rglob("*.jpg"))[:80]:
        shutil.copy(path, data)
    config = settings(preset, data, tiles={"cache": tmp_path / "cache"}, **CASES[preset])
    in_parts, at_once = (config.model_copy(update={"micro_batch": config.batch_size // parts}) for parts in (4, 1))
    less, held = peaks(tmp_path, in_parts, at_once)
    quarter, whole = (training_memory(one, explicit=True, bf16=False) for one in (in_parts, at_once))
    assert whole.total == pytest.approx(held, rel=1 / 3)  # what Python and PyTorch need differs from machine to machine
    assert whole.total - quarter.total == pytest.approx(held - less, rel=0.25)


def peaks(folder: Path, *configs: PretrainConfig) -> list[int]:
    """Return the most bytes that a process holds while it trains, for each of these settings in turn."""
    command = [sys.executable, "-c", MEASURE, str(folder), *(config.model_dump_json() for config in configs)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | AT_ONCE)
    return list(json.loads(done.stdout))


def test_fewer_tiles_at_once_need_less():
    whole, part = (
        training_memory(settings("cpu-demo", micro_batch=at_once), explicit=True, bf16=False) for at_once in (None, 16)
    )
    assert (whole.fixed, whole.per_tile, whole.tiles) == (part.fixed, part.per_tile, 64)
    assert part.total == whole.fixed + 16 * whole.per_tile
    assert training_memory(settings("cpu-demo"), explicit=True, bf16=False, tiles=20).tiles == 20


def test_bf16_and_fused_attention_need_less_per_tile():
    plain, fused, narrow = (
        training_memory(settings("vit-tiny"), explicit=explicit, bf16=bf16).per_tile
        for explicit, bf16 in ((True, False), (False, False), (True, True))
    )
    assert narrow < 0.7 * plain
    assert 0.5 * plain < fused < plain


def test_heads_that_are_not_used_need_nothing():
    config = settings("cpu-demo")
    without = config.model_copy(update={"loss": config.loss.model_copy(update={"p": 0.0})})
    with_heads, plain = (training_memory(one, explicit=True, bf16=False) for one in (config, without))
    assert plain.per_tile < with_heads.per_tile
    assert plain.fixed < with_heads.fixed


def test_tiles_that_fit():
    needed = TrainingMemory(fixed=100, per_tile=10, tiles=8)
    assert [needed.fitting(free) for free in (50, 105, 139, 10_000)] == [0, 0, 3, 8]


def test_a_model_that_does_not_exist_is_said():
    with pytest.raises(ValueError, match="timm has no model"):
        training_memory(settings("cpu-demo", model={"encoder": "vit_nano"}), explicit=True, bf16=False)
