"""Run folders that version 1 wrote: its process id says little, yet no job is disturbed, and all runs open and go on."""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch
import yaml
from safetensors.torch import load_file

from napari_sdmae.io.processes import boot_id
from napari_sdmae.runs.folder import RunFolder, RunFolderError
from napari_sdmae.runs.run_list import find_runs
from napari_sdmae.training import pretrain

CHANGED = 1_700_000_000
"""When the images of the run were changed, in seconds since 1970."""


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def run(tissue: Path, tmp_path: Path) -> RunFolder:
    """A run of 3 epochs of 2 steps, killed after its 3rd step by a process of this machine that is gone."""
    (tmp_path / "tiles").mkdir()
    for path in sorted((tissue / "tiles").rglob("*.jpg"))[::20][:8]:
        copy = Path(shutil.copy(path, tmp_path / "tiles" / f"{path.parent.name}-{path.name}"))
        os.utime(copy, (CHANGED, CHANGED))
    run = RunFolder(shutil.copytree(Path(__file__).with_name("version_1"), tmp_path / "runs" / "run"))
    settings = yaml.safe_load(run.config.read_text())
    settings |= {"data": str(tmp_path / "tiles"), "tiles": settings["tiles"] | {"cache": str(tmp_path / "cache")}}
    run.config.write_text(yaml.safe_dump(settings))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    say(run, host=platform.node(), pid=gone.pid)
    return run


def say(run: RunFolder, **changes: object) -> None:
    run.status_file.write_text(json.dumps(json.loads(run.status_file.read_text()) | changes))


def test_an_interrupted_run_is_listed_and_goes_on_to_the_model_of_an_uninterrupted_one(run, tmp_path):
    ((listed, status),) = find_runs(tmp_path / "runs").runs
    assert (listed.path, status.state, status.step) == (run.path, "interrupted", 3)
    config = run.read_config()
    assert list(pretrain(config, run=run.path, resume=True))[-1].state == "finished"
    whole = RunFolder(tmp_path / "whole")
    list(pretrain(config, run=whole.path))
    found, expected = (load_file(folder.model / "model.safetensors") for folder in (run, whole))
    for name, values in expected.items():  # the first steps were done on another processor
        torch.testing.assert_close(found[name], values, atol=1e-5, rtol=1e-4)
    assert [record["step"] for record in run.metrics()] == [record["step"] for record in whole.metrics()]


def test_a_living_process_is_not_disturbed(run, child, monkeypatch):
    say(run, pid=child.pid)
    config = run.read_config()
    with pytest.raises(RunFolderError, match="cannot be told"):  # a Python, and nobody knows which
        run.claim(config, resume=True)
    assert run.status().state == "running"
    monkeypatch.setattr(psutil.Process, "cmdline", lambda process: ["/usr/bin/python3", "-m", "napari_sdmae", "pretrain"])
    with pytest.raises(RunFolderError, match="in use"):
        run.claim(config, resume=True, take_over=True)
    monkeypatch.setattr(psutil.Process, "cmdline", lambda process: ["/usr/sbin/sshd"])
    assert run.status().state == "interrupted"


def test_a_job_on_another_machine_cannot_be_told(run):
    say(run, host="gpu7")
    assert run.status().state == "running"
    with pytest.raises(RunFolderError, match=r"process \d+ on gpu7 .* --take-over"):
        run.claim(run.read_config(), resume=True)


def test_whoever_goes_on_with_it_is_known_by_more_than_a_process_id(run):
    claimed = run.claim(run.read_config(), resume=True)
    assert (claimed.step, claimed.owner, claimed.boot) == (3, 1, boot_id())
