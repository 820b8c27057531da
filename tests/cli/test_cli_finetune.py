"""``sdmae finetune`` and ``sdmae evaluate``: flags, refusals, exit statuses, tables."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_sdmae.cli import main
from napari_sdmae.cli.finetune import settings
from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.config.presets import head_preset_names, load_head_preset
from napari_sdmae.runs.folder import RunFolder
from napari_sdmae.training.finetuning.selection import NOT_TESTED

TINY = "--epochs 2 --batch-size 4 --tile-px 32 --device cpu --precision fp32 --optimizer.warmup-epochs 1 --head.decoder linear"
TINY_ENCODER = "--encoder.tile-size 32 --encoder.patch-size 8 --encoder.width 32 --encoder.depth 2 --encoder.heads 2"


@pytest.fixture(scope="module")
def masks(tissue: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten crops of real tissue; dark pixels are class 1."""
    root = tmp_path_factory.mktemp("masks")
    for name in ("images", "labels"):
        (root / name).mkdir()
    for number, path in enumerate(sorted((tissue / "tiles").rglob("*.jpg"))[::25][:10]):
        pixels = np.asarray(Image.open(path).convert("RGB"))[:48, :48]
        Image.fromarray(pixels).save(root / "images" / f"{number}.png")
        dark = pixels.mean(2) < np.median(pixels.mean(2))
        Image.fromarray(dark.astype(np.uint8)).save(root / "labels" / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def run(masks: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run from the command line."""
    folder = RunFolder(tmp_path_factory.mktemp("runs") / "run")
    assert (
        main(
            [
                "finetune",
                "--task",
                "segmentation",
                "--data",
                str(masks),
                "--output",
                str(folder.path),
                *TINY.split(),
                *TINY_ENCODER.split(),
            ]
        )
        == 0
    )
    return folder


@pytest.mark.parametrize("command", ["finetune", "evaluate"])
def test_help_needs_no_torch(command):
    code = (
        f"import sys\nfrom napari_sdmae.cli import main\ntry: main([{command!r}, '--help'])\nexcept SystemExit: pass\n"
        "slow = {'torch', 'timm', 'torchmetrics', 'lightning_fabric', 'pandas', 'scipy', 'skimage', 'tifffile', 'zarr'}\n"
        "assert not slow & set(sys.modules)"
    )
    assert command in subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_every_field_is_a_flag_and_every_preset_is_named(capsys):
    with pytest.raises(SystemExit):
        main(["finetune", "--help"])
    text = capsys.readouterr().out
    for name, value in FinetuneConfig(task="instances", data=Path()).model_dump().items():
        for flag in [f"{name}.{key}" for key in value] if isinstance(value, dict) else [name]:
            assert flag.replace("_", "-") in text, flag
    for name in head_preset_names():
        assert name in " ".join(text.split())


@pytest.mark.parametrize("preset", head_preset_names())
def test_every_preset_is_taken(preset):
    base = load_head_preset(preset)
    config = settings(base, ["--data", "images", "--model", "runs/colon", "--seed", "7"])
    assert config == FinetuneConfig.model_validate(base | {"data": "images", "model": "runs/colon", "seed": 7})


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--task", "segmentation", "--epoch", "3"], ["--epoch", "did you mean --epochs?"]),
        (["--task", "cells"], ["'cells'", "instances"]),
        ([], ["--task"]),
        (["--task", "instances", "--head.detector", "retinanet"], ["--head.detector has an effect only with detection"]),
        (
            ["--task", "classification", "--head.decoder=dpt"],
            ["--head.decoder has an effect only with segmentation and instances"],
        ),
        (["--task", "segmentation", "--augmentation.mixup", "0.8"], ["--augmentation.mixup", "only with classification"]),
        (["--task", "segmentation", "--head.decoder", "linear", "--head.width", "64"], ["--head.width", "upernet and dpt"]),
        (["--task", "classification", "--head.neighbours", "5"], ["--head.neighbours", "head.classifier knn"]),
        (
            ["--task", "classification", "--head.classifier", "knn", "--augmentation.no-flip", "--optimizer.base-lr", "1"],
            ["--augmentation.flip", "--optimizer.base-lr", "not with head.classifier knn"],
        ),
        (["--task", "segmentation", "--model", "vit", "--encoder.depth", "3"], ["--encoder.depth", "only with model scratch"]),
        (["--task", "segmentation", "--encoder.last-blocks", "2"], ["--encoder.last-blocks", "encoder.train partial"]),
        (
            ["--task", "instances", "--model", "vit", "--encoder.train", "frozen", "--encoder.drop-path", "0"],
            ["--encoder.drop-path", "not with a frozen one"],
        ),
        (["--task", "segmentation", "--encoder.train", "frozen"], ["model scratch would keep random weights"]),
        (["--preset", "nuclei", "--task", "detection"], ["these settings are for instances"]),
        (["--preset", "nonsense", "--task", "instances"], ["'nonsense'", "nuclei"]),
        (["--preset", "nuclei", "--config", "x.yaml"], ["choose one"]),
        (["--config", "missing.yaml"], ["missing.yaml"]),
    ],
)
def test_bad_settings_are_refused_in_one_line(tmp_path, masks, capsys, flags, words):
    assert main(["finetune", "--data", str(masks), "--output", str(tmp_path / "run"), *flags]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for word in words:
        assert word in error


def test_what_is_missing_is_named(capsys):
    assert main(["finetune", "--task", "instances", "--data", "x"]) == 2
    assert "--output" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "word"),
    [(["--model", "nothing-here"], 2, "no model at 'nothing-here'"), (["--device", "cpu"], 3, "nothing-there")],
)
def test_a_missing_model_is_bad_usage_and_missing_data_is_unusable(tmp_path, masks, capsys, arguments, status, word):
    data = masks if status == 2 else tmp_path / "nothing-there"
    call = ["finetune", "--task", "segmentation", "--data", str(data), "--output", str(tmp_path / "run"), *arguments]
    assert main(call) == status
    assert word in capsys.readouterr().err


def test_the_run_lists_its_best_value_and_can_be_resumed(run, capsys):
    assert main(["runs", str(run.path.parent)]) == 0
    heading, row = capsys.readouterr().out.splitlines()
    assert heading.split() == ["name", "state", "epoch", "loss", "best", "started", "host"]
    assert f"{run.status().best:.4f} mIoU" in row
    assert main(["resume", str(run.path)]) == 0
    assert main(["pause", str(run.path)]) == 2
    assert "the run is finished" in capsys.readouterr().err


def report_of(path: Path) -> dict:
    return json.loads(path.read_text())


def test_evaluate_finds_the_test_images_of_the_run_again(run, masks, tmp_path, capsys):
    output = tmp_path / "deep" / "report.json"
    assert main(["evaluate", str(run.path), "--data", str(masks), "--device", "cpu", "--output", str(output)]) == 0
    out, err = capsys.readouterr()
    found, own = report_of(output), report_of(run.report)
    assert found["metrics"] == pytest.approx(own["test"], abs=1e-6)
    assert found["confusion"] == own["confusion"]
    assert found["part"] == "test"
    assert "the head was trained" not in err
    assert "slide IDs are missing" in err
    title, heading, numbers, *_ = out.splitlines()
    assert title == f"{own['images']['test']} images (test)"
    assert "left out" not in err
    assert dict(zip(heading.split(), numbers.split()[1:], strict=True))["mIoU"] == f"{found['metrics']['mIoU']:.4f}"
    assert main(["evaluate", str(run.path), "--data", str(masks), "--output", str(output)]) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_evaluate_warns_where_the_head_was_trained(run, masks, tmp_path, capsys):
    for part in ("train", "all"):
        assert main(["evaluate", str(run.path), "--data", str(masks), "--part", part, "--device", "cpu"]) == 0
        assert "the head was trained on 6" in capsys.readouterr().err


def copy_some(masks: Path, folder: Path) -> None:
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
        for number in (1, 2, 3):
            data = (masks / name / f"{number}.png").read_bytes()
            (folder / name / f"{number}.png").write_bytes(data)


def test_images_for_the_test_alone_are_evaluated_and_not_trained_on(run, masks, tmp_path, capsys):
    copy_some(masks, tmp_path / "other" / "test")
    data = ["--data", str(tmp_path / "other")]
    assert main(["evaluate", str(run.path), *data, "--device", "cpu"]) == 0
    assert capsys.readouterr().out.startswith("3 images (all)")
    assert main(["finetune", "--task", "segmentation", *data, "--output", str(tmp_path / "run"), *TINY_ENCODER.split()]) == 3
    assert "no image is named for training, only for test" in capsys.readouterr().err


def test_evaluate_on_other_images_takes_all_of_them(run, masks, tmp_path, capsys):
    copy_some(masks, tmp_path / "other")
    assert main(["evaluate", str(run.path), "--data", str(tmp_path / "other"), "--device", "cpu"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("3 images (all)")
    assert "the head was trained" not in err


def test_evaluate_names_what_it_leaves_out(run, masks, tmp_path, capsys):
    """A figure of fewer images than there are must not pass for one of all."""
    for name in ("images", "labels"):
        (tmp_path / "other" / name).mkdir(parents=True)
        data = (masks / name / "1.png").read_bytes()
        for number in range(11):
            (tmp_path / "other" / name / f"{number}.png").write_bytes(data)
    (tmp_path / "other" / "images" / "4.png").write_bytes(b"no picture")
    output = tmp_path / "report.json"
    call = ["evaluate", str(run.path), "--data", str(tmp_path / "other"), "--device", "cpu", "--output", str(output)]
    assert main(call) == 0
    out, err = capsys.readouterr()
    assert out.startswith("10 images (all)")
    assert "left out, as it cannot be used: images/4.png (" in err
    assert any("images/4.png" in warning for warning in report_of(output)["warnings"])


def test_evaluate_refuses_classes_that_the_head_does_not_know(run, masks, tmp_path, capsys):
    for name in ("images", "labels"):
        (tmp_path / "other" / name).mkdir(parents=True)
    for number in (1, 2):
        (tmp_path / "other" / "images" / f"{number}.png").write_bytes((masks / "images" / f"{number}.png").read_bytes())
        labels = np.asarray(Image.open(masks / "labels" / f"{number}.png")) * 7
        Image.fromarray(labels.astype(np.uint8)).save(tmp_path / "other" / "labels" / f"{number}.png")
    assert main(["evaluate", str(run.path), "--data", str(tmp_path / "other"), "--device", "cpu"]) == 3
    assert "the head does not know" in capsys.readouterr().err


def test_the_command_that_an_untested_run_is_told_is_a_whole_one(capsys):
    words = NOT_TESTED.split("run sdmae ")[1].split()
    assert main(words) == 2  # RUN is no run; a missing argument would end in argparse
    assert "no model at 'RUN'" in capsys.readouterr().err


def test_evaluate_without_a_head_is_bad_usage(masks, capsys):
    assert main(["evaluate", "nowhere", "--data", str(masks)]) == 2
    assert "no model at 'nowhere'" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [["--mpp", "0.5"], ["--mpp=0.5"], ["--image-mpp", "0.5"]])
def test_the_scale_of_the_images_is_called_as_in_predict_and_evaluate(flags: list[str]) -> None:
    config = settings({}, ["--task", "segmentation", "--data", "x", "--seen-mpp", "1", *flags])
    assert (config.image_mpp, config.seen_mpp) == (0.5, 1.0)


def test_files_of_before_call_the_scale_seen_mpp() -> None:
    config = FinetuneConfig.model_validate({"task": "segmentation", "data": "x", "mpp": 0.25, "image_mpp": 0.5})
    assert (config.image_mpp, config.seen_mpp) == (0.5, 0.25)
    assert "mpp" not in config.model_dump()
