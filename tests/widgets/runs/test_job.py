"""The command that is shown is the one that runs, means the form's settings, and outlives the viewer."""

import os
import shlex
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import psutil
import pytest

from napari_sdmae.cli.pretrain import settings
from napari_sdmae.config.presets import load_preset, preset_names
from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.widgets.canvas.command_line import shell_line
from napari_sdmae.widgets.runs.job import console_file, launch, new_run_folder, pretrain_command, resume_command

RUN = Path("/runs/one")
CHANGED = {
    "epochs": 3,
    "micro_batch": 16,
    "device": "cpu",
    "precision": "fp32",
    "threads": 2,
    "model": {"class_token": True, "mean": (0.5, 0.5, 0.5)},
    "loss": {"p": 0.0, "teacher_gradient": True},
    "tiles": {"tissue_filter": False, "mpp": 0.25, "cache": "/tmp/my cache"},
    "augmentation": {"flip": False, "crop_ratio": (0.75, 4 / 3)},
    "optimizer": {"base_lr": 1.7e-5, "clip_grad": 1.0},
}


def parsed(command: list[str]) -> tuple[PretrainConfig, str]:
    """Return what the command line makes of `command`, and its run folder."""
    assert command[:4] == [sys.executable, "-m", "napari_sdmae", "pretrain"]
    flags = command[4:]
    taken = {}
    for name in ("--preset", "--output"):
        place = flags.index(name)
        taken[name] = flags[place + 1]
        del flags[place : place + 2]
    return settings(load_preset(taken["--preset"]), flags), taken["--output"]


@pytest.mark.parametrize("preset", preset_names())
def test_the_command_of_a_preset_means_that_preset(preset):
    config = PretrainConfig.from_preset(preset, data="/data/H & E (colon)")
    command = pretrain_command(config, preset, RUN)
    assert parsed(command) == (config, str(RUN))
    assert len(command) == 10


@pytest.mark.parametrize("preset", preset_names())
def test_every_changed_setting_is_on_the_command_line_exactly(preset):
    config = PretrainConfig.from_preset(preset, data="/data/tissue", **CHANGED)
    assert parsed(pretrain_command(config, preset, RUN))[0] == config


def test_a_setting_emptied_again_is_said_too():
    config = PretrainConfig.from_preset("cpu-demo", data="/data", tiles={"tile_px": None}, model={"encoder_depth": None})
    assert parsed(pretrain_command(config, "cpu-demo", RUN))[0] == config


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX shells")
def test_the_line_shown_can_be_pasted_into_a_shell():
    command = [sys.executable, "-c", "import sys; print(sys.argv[1:])", "a b", "c'd", "$HOME", "μm"]
    printed = subprocess.run(["/bin/sh", "-c", shell_line(command)], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == str(["a b", "c'd", "$HOME", "μm"])
    assert shlex.split(shell_line(resume_command(RUN))) == [sys.executable, "-m", "napari_sdmae", "resume", str(RUN)]


def test_run_folders_are_named_by_date_and_images_and_never_reused(tmp_path):
    day = date(2026, 11, 23)
    first = new_run_folder(tmp_path, Path("/data/colon H&E"), day)
    assert first.name == "2026-11-23-colon-H-E"
    first.mkdir()
    assert new_run_folder(tmp_path, Path("/data/colon H&E"), day).name == "2026-11-23-colon-H-E-2"
    assert new_run_folder(tmp_path, None, day).name == "2026-11-23-run"


def test_a_job_outlives_the_process_that_launched_it(tmp_path):
    """A launcher starts a job and is killed with its whole process group, as a terminal or a crash would."""
    pidfile = tmp_path / "pid"
    job = f"import os, time; open({str(pidfile)!r}, 'w').write(str(os.getpid())); time.sleep(1800)"
    code = (
        "import sys, time; from pathlib import Path; from napari_sdmae.widgets.runs.job import launch; "
        f"launch([sys.executable, '-c', {job!r}], Path({str(tmp_path / 'run')!r})); time.sleep(60)"
    )
    launcher = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    try:
        while not (pidfile.exists() and pidfile.read_text()):
            assert launcher.poll() is None
            time.sleep(0.05)
        child = psutil.Process(int(pidfile.read_text()))
        os.killpg(launcher.pid, signal.SIGKILL)
        launcher.wait()
        time.sleep(0.3)
        assert child.is_running()
        assert child.status() != psutil.STATUS_ZOMBIE
        assert child.nice() >= 5  # the viewer goes first
        child.kill()
    finally:
        launcher.kill()


def test_what_the_job_prints_is_kept_and_the_viewers_qt_is_not_passed_on(tmp_path, monkeypatch):
    monkeypatch.setenv("QT_API", "nonsense")
    monkeypatch.setenv("MPLBACKEND", "nonsense")
    code = "import os, sys; print([n for n in os.environ if n.startswith(('QT_', 'MPLB'))]); sys.exit('µm: broken')"
    process = launch([sys.executable, "-c", code], tmp_path / "run")
    assert process.wait(30) == 1
    assert console_file(tmp_path / "run").read_text(encoding="utf-8").splitlines() == ["[]", "µm: broken"]
    assert not (tmp_path / "run").exists()  # the job wants to find no folder
