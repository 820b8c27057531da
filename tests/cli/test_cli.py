"""The command line: what it says, how it ends, and that help needs no torch."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from napari_sdmae.cli import COMMANDS, main
from napari_sdmae.cli.common.job import exit_status
from napari_sdmae.cli.pretrain import settings
from napari_sdmae.config.presets import load_preset
from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.data.listing import DataError, TileCacheError
from napari_sdmae.runs.folder import RunFolder, RunStatus


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("arguments", [["--help"], ["pretrain", "--help"], ["runs", "--help"], ["resume", "--help"]])
def test_help_needs_no_torch(arguments):
    code = (
        f"import sys\nfrom napari_sdmae.cli import main\ntry: main({arguments})\nexcept SystemExit: pass\n"
        "assert not {'torch', 'timm', 'lightning_fabric'} & set(sys.modules)"
    )
    assert arguments[0].strip("-") in run_python(code)


def test_a_file_that_is_closed_to_this_user_is_one_line(monkeypatch, capsys):
    def closed(*arguments, **options):
        raise PermissionError(13, "Permission denied", "config.json")

    monkeypatch.setattr("napari_sdmae.cli.inspect.parse", closed)
    assert main(["inspect", "model"]) == 1
    assert capsys.readouterr().err == "sdmae inspect: config.json: Permission denied\n"


def test_a_full_disk_is_no_unusable_data():
    assert exit_status(TileCacheError("the tile cache cannot be written"), started=False) == 1
    assert exit_status(DataError("no images"), started=False) == 3


def test_help_loads_no_library():
    """T16 of performance.md, which a busy machine does not change: what is not loaded takes no time."""
    code = (
        "import sys\nbefore = set(sys.modules)\nfrom napari_sdmae.cli import main\nmain(['--help'])\n"
        "loaded = {name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)\n"
        "print('LOADED', sorted(loaded))"
    )
    assert run_python(code).splitlines()[-1] == "LOADED ['napari_sdmae']"


def test_python_dash_m_is_the_same_program():
    done = subprocess.run([sys.executable, "-m", "napari_sdmae", "--version"], capture_output=True, text=True)
    assert done.stdout.strip() == __import__("napari_sdmae").__version__


def test_every_command_is_listed_and_exists(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert name in text
        assert (Path(__import__("napari_sdmae.cli").cli.__file__).parent / f"{command.module}.py").is_file()


def test_no_command_and_an_unknown_one_are_bad_usage(capsys):
    assert main([]) == 2
    assert main(["pretrian"]) == 2
    assert "pretrain, resume" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--epoch", "3"], ["--epoch", "did you mean --epochs?"]),
        (["--epochs", "zero"], ["--epochs", "'zero'"]),
        (["--epochs", "0"], ["epochs", "greater than or equal to 1", "got 0"]),
        (["--device", "gpu"], ["'gpu'", "'cpu', 'cuda'"]),
        (["--model.tile-size", "65"], ["tile size 65 px", "choose 64 px"]),
        (["--preset", "nonsense"], ["'nonsense'", "vit-small", "cpu-demo"]),
        (["--loss.distance", "cosine"], ["'cosine'", "'predictor'"]),
        (["--preset", "vit-tiny", "--config", "x.yaml"], ["--preset", "--config", "choose one"]),
        (["--config", "missing.yaml"], ["missing.yaml"]),
    ],
)
def test_bad_settings_are_refused_in_one_line(tmp_path, capsys, flags, words):
    assert main(["pretrain", "--data", str(tmp_path), "--output", str(tmp_path / "run"), *flags]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for word in words:
        assert word in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("arguments", "word"), [(["--data", "x"], "--output"), (["--output", "run"], "--data")])
def test_what_is_missing_is_named(capsys, arguments, word):
    assert main(["pretrain", *arguments]) == 2
    assert word in capsys.readouterr().err


def test_flags_override_the_preset_and_reach_nested_fields():
    flags = "--data images --epochs 7 --loss.p 0.1 --tiles.no-tissue-filter --optimizer.betas 0.8 0.9 --model.encoder-width None"
    config = settings(load_preset("cpu-demo"), flags.split())
    expected = PretrainConfig.from_preset(
        "cpu-demo",
        data="images",
        epochs=7,
        loss={"p": 0.1},
        tiles={"tissue_filter": False},
        optimizer={"betas": (0.8, 0.9)},
        model={"encoder_width": None},
    )
    assert config == expected


def test_every_field_is_a_flag(capsys):
    with pytest.raises(SystemExit):
        main(["pretrain", "--help"])
    text = capsys.readouterr().out
    for name, value in PretrainConfig(data=Path()).model_dump().items():
        for flag in [f"{name}.{key}" for key in value] if isinstance(value, dict) else [name]:
            assert flag.replace("_", "-") in text, flag


def test_an_unknown_key_in_a_file_is_an_error(tmp_path, capsys):
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump({"data": "x", "epocs": 3}))
    assert main(["pretrain", "--config", str(tmp_path / "settings.yaml"), "--output", str(tmp_path / "run")]) == 2
    assert "epocs: there is no such setting" in capsys.readouterr().err


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for name, state in (("first", "finished"), ("second", "paused")):
        run = RunFolder(tmp_path / "runs" / name)
        run.claim(PretrainConfig(data=tmp_path), resume=False)
        run.write_status(RunStatus(state=state, epoch=2.5, epochs=5, loss=0.75, started=time.time() - (name == "first")))
    return tmp_path / "runs"


def test_runs_are_listed_as_a_table_and_as_json(runs, capsys):
    assert main(["runs", str(runs)]) == 0
    heading, first, second = capsys.readouterr().out.splitlines()
    assert heading.split() == ["name", "state", "epoch", "loss", "started", "host"]
    assert first.split()[:4] == ["first", "finished", "2.5/5", "0.7500"]
    assert second.split()[:2] == ["second", "paused"]
    assert main(["runs", str(runs), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["state"], row["alive"], row["path"]) for row in rows] == [
        ("finished", False, str(runs / "first")),
        ("paused", False, str(runs / "second")),
    ]


def test_a_job_elsewhere_is_listed_with_a_question_mark_and_asked_with_a_warning(runs, capsys):
    RunFolder(runs / "first").write_status(RunStatus(state="running", host="gpu7"))
    assert main(["runs", str(runs)]) == 0
    out, err = capsys.readouterr()
    assert "running?" in out
    assert err.startswith("first: cannot tell from here whether it still runs; last heard ")
    assert main(["pause", str(runs / "first")]) == 0
    assert "cannot be told from here" in capsys.readouterr().out
    assert main(["resume", str(runs / "first")]) == 2
    assert "--take-over" in capsys.readouterr().err


def test_a_reader_that_has_enough_is_no_traceback(runs):
    """As in ``sdmae runs DIR | head -1``: the pipe is closed before anything is written."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "napari_sdmae", "runs", str(runs)]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("command", ["stop", "pause", "cancel"])
def test_requests_reach_a_live_job_only(runs, capsys, command):
    run = RunFolder(runs / "first")
    assert main([command, str(run.path)]) == 2
    assert "the run is finished" in capsys.readouterr().err
    assert run.asked() is None
    run.write_status(RunStatus(state="running"))
    assert main([command, str(run.path)]) == 0
    assert run.asked() == command


@pytest.mark.parametrize("command", ["resume", "stop", "pause", "cancel"])
def test_a_folder_without_a_run_is_bad_usage(tmp_path, capsys, command):
    assert main([command, str(tmp_path)]) == 2
    assert "not a run folder" in capsys.readouterr().err


def test_data_that_cannot_be_used_ends_with_3(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    run = tmp_path / "run"
    assert main(["pretrain", "--data", str(tmp_path / "empty"), "--output", str(run), "--device", "cpu"]) == 3
    assert "no images" in capsys.readouterr().err
    assert not run.exists()


def test_a_folder_that_is_not_empty_is_refused(runs, tmp_path, capsys):
    arguments = ["pretrain", "--data", str(tmp_path), "--preset", "cpu-demo", "--device", "cpu", "--output"]
    assert main([*arguments, str(runs / "first")]) == 2
    assert "sdmae resume" in capsys.readouterr().err


def test_yaml_that_is_none_is_refused_in_one_line(runs, tmp_path, capsys):
    broken = runs / "second" / "config.yaml"
    broken.write_text("epochs: 3\ndata: [1, 2\nseed: 1\n")
    for call in (["pretrain", "--config", str(broken), "--output", str(tmp_path / "run")], ["resume", str(runs / "second")]):
        assert main(call) == 2
        error = capsys.readouterr().err
        assert f"{broken}, line 3" in error
        assert error.count("\n") == 1
