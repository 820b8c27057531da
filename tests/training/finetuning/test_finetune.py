"""Fine-tuning of every task: what it writes, selects and reports."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from napari_sdmae.data.batches.labelled_tiles import LabelledTiles
from napari_sdmae.data.image_folder import DataError
from napari_sdmae.data.labelled.read import read_labelled
from napari_sdmae.io.checkpoints.head_folder import load_head
from napari_sdmae.io.model_info.head import read_head_spec
from napari_sdmae.runs.events import Ended, EpochFinished, Event, Started, StepLogged, Validated, Warned
from napari_sdmae.training import RunFolder, finetune
from napari_sdmae.training.finetuning.engine import HeadEngine
from napari_sdmae.training.finetuning.loader import HeadLoader

TASKS = ("segmentation", "instances", "classification", "detection")
BY = {"segmentation": "mIoU", "instances": "PQ", "classification": "balanced_accuracy", "detection": "mAP50"}


def report_of(run: RunFolder) -> dict:
    return json.loads(run.report.read_text())


@pytest.fixture(scope="module")
def runs(make_finetune, tmp_path_factory) -> dict[str, tuple[RunFolder, list[Event]]]:
    """A finished run of each task."""
    done = {}
    for task in TASKS:
        run = RunFolder(tmp_path_factory.mktemp(task) / "run")
        config = make_finetune(task, preview_every=2, head={"decoder": "upernet" if task == "instances" else "linear"})
        done[task] = run, list(finetune(config, run=run.path))
    return done


@pytest.mark.parametrize("task", TASKS)
def test_a_run_ends_with_a_head_and_a_report_that_names_parts_and_metric(runs, task):
    run, events = runs[task]
    report = report_of(run)
    assert isinstance(events[-1], Ended)
    assert events[-1].state == "finished"
    validated = [event for event in events if isinstance(event, Validated)]
    assert [event.epoch for event in validated] == [1, 2, 3]
    selected = [event for event in validated if event.selected][-1]
    by = f"validation/{BY[task]}"
    assert report["selected"] == {"epoch": selected.epoch, "step": selected.step, "by": by, "value": selected.metrics[by]}
    assert selected.metrics[by] == max(event.metrics[by] for event in validated)
    assert set(report["test"]) == set(report["validation"])
    assert report["reported_on"] == "test"
    assert report["images"]["test"] > 0
    assert report["groups"]["test"] is None
    assert any("slide IDs are missing" in warning for warning in report["warnings"])
    said = f"{BY[task].replace('_', ' ')} {report['test'][BY[task]]:.4f} on {report['images']['test']} test images"
    assert said in run.status().message


def test_a_single_test_image_is_told_as_one(make_finetune, tmp_path):
    run = RunFolder(tmp_path / "run")
    list(finetune(make_finetune("segmentation", epochs=1, labels={"test": 0.05}), run=run.path))
    assert report_of(run)["images"]["test"] == 1
    assert " on 1 test image, with epoch 1" in run.status().message


@pytest.mark.parametrize("task", TASKS)
def test_the_head_of_the_best_epoch_is_kept_and_says_how_good_it_is(runs, task):
    run, _ = runs[task]
    report = report_of(run)
    kept = run.checkpoint(report["selected"]["step"]) / "model.safetensors"
    assert (run.model / "model.safetensors").read_bytes() == kept.read_bytes()
    spec = read_head_spec(run.path)
    assert spec.metrics["test"] == report["test"]
    assert spec.metrics["selected_by"] == f"validation/{BY[task]}"
    assert spec.provenance["data"] == report["data"]
    assert load_head(run.path).spec.task == task


@pytest.mark.parametrize("task", TASKS)
def test_epochs_in_the_metrics_carry_the_validation(runs, task):
    run, events = runs[task]
    records = [record for record in run.metrics() if record["kind"] == "epoch"]
    finished = [event for event in events if isinstance(event, EpochFinished)]
    assert [record[f"validation/{BY[task]}"] for record in records] == [
        event.metrics[f"validation/{BY[task]}"] for event in finished
    ]
    status = run.status()
    assert status.best == max(record[f"validation/{BY[task]}"] for record in records)
    assert (status.best_metric, status.best_epoch) == (BY[task], report_of(run)["selected"]["epoch"])


@pytest.mark.parametrize("task", TASKS)
def test_previews_hold_input_truth_and_prediction(runs, task, labelled_data):
    run, _ = runs[task]
    assert [path.name for path in run.previews()] == ["epoch-000002.npz", "epoch-000003.npz"]
    with np.load(run.previews()[-1]) as arrays:
        shown = dict(arrays)
    edge = 32 if task == "classification" else 48
    assert shown["input"].shape == (2, edge, edge, 3)
    assert shown["input"].dtype == np.uint8
    shape = (2,) if task == "classification" else (2, edge, edge)
    assert shown["truth"].shape == shown["prediction"].shape == shape
    assert shown["truth"].dtype == shown["prediction"].dtype == np.int32
    if task == "classification":
        assert shown["probabilities"].sum(1) == pytest.approx(1, abs=1e-5)
        assert (shown["prediction"] == shown["probabilities"].argmax(1)).all()
    if task == "segmentation":
        masks = [np.asarray(Image.open(path)) for path in (labelled_data[task] / "labels").iterdir()]
        assert all(any(np.array_equal(one, mask) for mask in masks) for one in shown["truth"])
    with Image.open(run.previews()[-1].with_suffix(".png")) as sheet:
        assert sheet.size == (3 * (edge + 4) - 4, 2 * (edge + 4) - 4)


def test_confusion_and_classes_are_those_of_the_test_images(runs):
    run, _ = runs["classification"]
    report = report_of(run)
    table = np.array(report["confusion"])
    assert table.sum() == report["images"]["test"]
    assert report["test"]["accuracy"] == pytest.approx(np.trace(table) / table.sum())
    assert set(report["per_class"]) == {one["name"] for one in report["classes"]}
    assert report_of(runs["segmentation"][0])["per_class"]["class 1"]["IoU"] <= 1


def test_learning_lowers_the_loss_and_finds_nuclei(make_finetune, tmp_path):
    config = make_finetune("segmentation", epochs=20, batch_size=16, validate_every=10, optimizer={"base_lr": 0.3})
    run = RunFolder(tmp_path / "run")
    events = list(finetune(config, run=run.path))
    totals = [event.metrics["total"] for event in events if isinstance(event, EpochFinished)]
    assert totals[-1] < 0.8 * totals[0]
    assert report_of(run)["test"]["mIoU"] > 0.6


def test_without_validation_images_the_last_epoch_is_kept_and_it_says_so(make_finetune, tmp_path):
    run = RunFolder(tmp_path / "run")
    events = list(finetune(make_finetune("segmentation", labels={"validation": 0.0}), run=run.path))
    assert any(isinstance(event, Warned) and event.code == "selection" for event in events)
    assert not any(isinstance(event, Validated) for event in events)
    report = report_of(run)
    assert (report["selected"]["epoch"], report["selected"]["by"], report["validation"]) == (3, None, None)
    assert "mIoU" in report["test"]
    assert any("without a selection" in warning for warning in report["warnings"])


def test_validation_can_be_rarer_and_always_sees_the_last_epoch(make_finetune, tmp_path):
    events = list(finetune(make_finetune("segmentation", validate_every=2), run=tmp_path / "run"))
    assert [event.epoch for event in events if isinstance(event, Validated)] == [2, 3]


@pytest.mark.parametrize("classifier", ["linear_probe", "knn"])
def test_probes_keep_the_encoder(make_finetune, runs, tmp_path, classifier):
    source, _ = runs["segmentation"]
    run = RunFolder(tmp_path / "run")
    config = make_finetune("classification", model=str(source.path), head={"classifier": classifier})
    events = list(finetune(config, run=run.path))
    before, after = load_head(source.path).encoder.state_dict(), load_head(run.path).encoder.state_dict()
    assert all((before[name] == after[name]).all() for name in before)
    assert "balanced_accuracy" in report_of(run)["test"]
    started = next(event for event in events if isinstance(event, Started))
    assert started.epochs == (1 if classifier == "knn" else 3)


def test_the_bank_holds_every_training_tile(make_finetune, tmp_path):
    run = RunFolder(tmp_path / "run")
    config = make_finetune("classification", encoder={"train": "full"}, head={"classifier": "knn"}, batch_size=5)
    list(finetune(config, run=run.path))
    assert len(load_head(run.path).head.labels) == report_of(run)["images"]["train"]


@pytest.mark.parametrize("train", ["frozen", "partial"])
def test_frozen_blocks_do_not_move(make_finetune, runs, tmp_path, train):
    source, _ = runs["segmentation"]
    encoder = {"train": train, "last_blocks": 1}
    list(finetune(make_finetune("segmentation", model=str(source.path), encoder=encoder), run=tmp_path / "run"))
    before, after = load_head(source.path).encoder.state_dict(), load_head(tmp_path / "run").encoder.state_dict()
    moved = {name.rsplit(".", 2)[0] for name in before if not (before[name] == after[name]).all()}
    assert moved == (set() if train == "frozen" else {name for name in moved if name.startswith(("blocks.3", "norm"))})
    assert (train == "frozen") == (not moved)


def losses(events: list[Event]) -> list[float]:
    return [event.metrics["total"] for event in events if isinstance(event, StepLogged)]


def test_parts_of_a_batch_give_the_losses_of_the_whole(make_finetune, tmp_path):
    whole = list(finetune(make_finetune("classification"), run=tmp_path / "whole"))
    parts = list(finetune(make_finetune("classification", encoder={"drop_path": 0.0}, micro_batch=2), run=tmp_path / "parts"))
    plain = list(finetune(make_finetune("classification", encoder={"drop_path": 0.0}), run=tmp_path / "plain"))
    assert losses(parts) == pytest.approx(losses(plain), abs=1e-4)
    assert losses(whole) != losses(plain)


def test_rare_classes_are_drawn_more_often(make_finetune, labelled_data, tmp_path):
    data = tmp_path / "data"
    for folder, count in zip(sorted(labelled_data["classification"].iterdir()), (10, 4), strict=True):
        (data / folder.name).mkdir(parents=True)
        for path in sorted(folder.iterdir())[:count]:
            (data / folder.name / path.name).write_bytes(path.read_bytes())
    config = make_finetune("classification", data=data, labels={"balance": "sampling", "validation": 0, "test": 0})
    labelled = read_labelled(config)
    loader = HeadLoader(LabelledTiles(labelled.images, labelled, config, tile=32, mpp=None), torch.device("cpu"))
    labels = np.concatenate([loader.batch(epoch, np.arange(14))[1].numpy() for epoch in range(60)])
    assert 0.4 < labels.mean() < 0.6
    again = loader.batch(7, np.arange(14))[1].numpy()
    assert (again == labels[7 * 14 : 8 * 14]).all()
    order = [loader.batch(0, place)[1].numpy() for place in np.array_split(np.arange(14), 3)]
    assert (np.concatenate(order) == labels[:14]).all()


@pytest.mark.parametrize(("loss", "told"), [("dice", True), ("focal", False)])
def test_weights_without_effect_are_told(make_finetune, tmp_path, loss, told):
    events = finetune(make_finetune("segmentation", labels={"balance": "weights"}, head={"loss": loss}), run=tmp_path / "run")
    warnings = [event.message for event in events if isinstance(event, Warned)]
    assert any("labels.balance weights has no effect with head.loss dice" in line for line in warnings) == told


@pytest.mark.parametrize(("changes", "error"), [({"data": "nowhere"}, DataError), ({"model": "nothing"}, FileNotFoundError)])
def test_what_cannot_work_leaves_no_folder(make_finetune, tmp_path, changes, error):
    with pytest.raises(error, match=r"nowhere|nothing"):
        list(finetune(make_finetune("segmentation", **changes), run=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_detection_without_its_package_is_refused_first(make_finetune, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_sdmae.metrics.boxes.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install"):
        list(finetune(make_finetune("detection"), run=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_unreadable_images_are_listed(make_finetune, labelled_data, tmp_path):
    data = tmp_path / "data"
    for path in labelled_data["segmentation"].rglob("*.png"):
        target = data / path.relative_to(labelled_data["segmentation"])
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    (data / "images" / "00.png").write_bytes(b"no picture")
    run = RunFolder(tmp_path / "run")
    events = list(finetune(make_finetune("segmentation", data=data), run=run.path))
    assert any(isinstance(event, Warned) and event.code == "quarantine" for event in events)
    assert "images/00.png" in Path(run.quarantine).read_text()


def test_out_of_memory_halves_the_tiles_at_once_and_changes_no_loss(make_finetune, tmp_path, monkeypatch):
    config = make_finetune("classification", encoder={"drop_path": 0.0})
    plain = list(finetune(config, run=tmp_path / "plain"))
    real = HeadEngine._losses

    def hungry(self, step, indices, following, last):
        result = real(self, step, indices, following, last)
        if len(indices) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return result

    monkeypatch.setattr(HeadEngine, "_losses", hungry)
    run = RunFolder(tmp_path / "run")
    events = list(finetune(config, run=run.path))
    assert losses(events) == pytest.approx(losses(plain), abs=1e-4)
    (message,) = (event.message for event in events if isinstance(event, Warned) and event.code == "out_of_memory")
    assert "2 tiles at once instead of 4" in message
    assert "BatchNorm" not in message


def test_out_of_memory_says_where_the_parts_do_not_add_up_to_the_loss(make_finetune, tmp_path, monkeypatch):
    """Dice of the parts is not Dice of the batch: the warning names the difference, and its size stays that of one image."""
    config = make_finetune("segmentation", epochs=1, encoder={"drop_path": 0.0})
    whole = losses(list(finetune(config, run=tmp_path / "whole")))
    parts = losses(list(finetune(config.model_copy(update={"micro_batch": 2}), run=tmp_path / "parts")))
    assert parts != pytest.approx(whole, abs=1e-6)
    assert parts == pytest.approx(whole, abs=0.05)
    real = HeadEngine._losses

    def hungry(self, step, indices, following, last):
        if len(indices) > 2:
            raise MemoryError
        return real(self, step, indices, following, last)

    monkeypatch.setattr(HeadEngine, "_losses", hungry)
    events = list(finetune(config, run=tmp_path / "run"))
    (message,) = (event.message for event in events if isinstance(event, Warned) and event.code == "out_of_memory")
    assert "the rest of each batch is accumulated. The losses of the parts are averaged" in message
    assert losses(events) == parts


def test_out_of_memory_says_that_batch_statistics_are_those_of_the_parts(make_finetune, runs, tmp_path, monkeypatch):
    """And the running statistics are those of the steps that were done, not of those that failed as well."""
    source, _ = runs["segmentation"]
    config = make_finetune("classification", model=str(source.path), epochs=1, head={"classifier": "linear_probe"})
    real, tried = HeadEngine._losses, []

    def hungry(self, step, indices, following, last):
        result = real(self, step, indices, following, last)
        tried.append(len(indices))
        if len(indices) > 2:
            raise MemoryError
        return result

    with monkeypatch.context() as patch:
        patch.setattr(HeadEngine, "_losses", hungry)
        events = list(finetune(config, run=tmp_path / "run"))
    assert any(
        "BatchNorm sees the tiles of each part by itself" in event.message for event in events if isinstance(event, Warned)
    )
    assert tried[:3] == [4, 2, 2]
    list(finetune(config.model_copy(update={"micro_batch": 2}), run=tmp_path / "parts"))
    weights = [(RunFolder(tmp_path / name).model / "model.safetensors").read_bytes() for name in ("run", "parts")]
    assert weights[0] == weights[1]


def test_a_head_of_images_without_scale_expects_none(make_finetune, runs, tmp_path):
    """The encoder's scale was never seen by the head: resizing a picture to it would show the head what it did not learn."""
    source = tmp_path / "encoder"
    shutil.copytree(runs["instances"][0].model, source)
    config = json.loads((source / "config.json").read_text()) | {"mpp": 1.5}
    (source / "config.json").write_text(json.dumps(config))
    unscaled = make_finetune("instances", model=str(source), epochs=1)
    assert all(image.mpp is None for image in read_labelled(unscaled).images)
    events = list(finetune(unscaled, run=tmp_path / "unscaled"))
    assert read_head_spec(tmp_path / "unscaled").mpp is None
    (warning,) = [event.message for event in events if isinstance(event, Warned) and "scale" in event.message]
    assert "image_mpp" in warning
    list(finetune(make_finetune("instances", model=str(source), epochs=1, image_mpp=1.5), run=tmp_path / "scaled"))
    assert read_head_spec(tmp_path / "scaled").mpp == 1.5


def test_a_classifier_of_images_without_scale_remembers_their_size(make_finetune, runs):
    spec = read_head_spec(runs["classification"][0].path)
    sizes = [min(image.size) for image in read_labelled(make_finetune("classification")).part("train")]
    assert spec.mpp is None
    assert spec.fitted_px == np.median(sizes)


def test_a_folder_called_scratch_is_not_taken_for_the_model(make_finetune, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scratch").mkdir()
    run = RunFolder(tmp_path / "run")
    next(iter(finetune(make_finetune("segmentation"), run=run.path)))
    assert run.read_config().model == "scratch"


TOLD = {
    "classification": "are fitted to a tile, the others brought to their scale",
    "segmentation": "are taken as they are, as if at",
}


@pytest.mark.parametrize("task", TOLD)
def test_images_of_unknown_scale_among_others_are_told_as_they_are_taken(make_finetune, labelled_data, tmp_path, task):
    data = tmp_path / "data"
    shutil.copytree(labelled_data[task], data)
    files = [path.relative_to(data).as_posix() for path in sorted(data.rglob("*.png")) if "labels" not in path.parts]
    (data / "scales.csv").write_text("\n".join(["file,mpp", *(f"{name},0.5" for name in files[1:])]))
    events = finetune(make_finetune(task, data=data), run=tmp_path / "run")
    said = next(event.message for event in events if isinstance(event, Warned) and "the scale of" in event.message)
    assert said.startswith(f"the scale of 1 of {len(files)} images is unknown: they {TOLD[task]}")
