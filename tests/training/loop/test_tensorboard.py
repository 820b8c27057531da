"""TensorBoard files, read back with TensorBoard's own reader."""

import importlib.util

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from napari_sdmae.training import RunFolder, pretrain
from napari_sdmae.training.loop import tensorboard as ours


def scalars(run):
    reader = EventAccumulator(str(run.tensorboard)).Reload()
    return {tag: [(event.step, event.value) for event in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}


def recorded(run, kind, name):
    return [(record["step"], pytest.approx(record[name])) for record in run.metrics() if record["kind"] == kind]


def test_the_files_hold_what_metrics_jsonl_holds(make_config, tmp_path):
    run = RunFolder(tmp_path / "run")
    list(pretrain(make_config(tensorboard=True), run=run.path))
    found = scalars(run)
    assert len(found["total"]) == 9
    for name in ("total", "reconstruction", "distillation", "p", "lr"):
        assert found[name] == recorded(run, "step", name)
        assert found[f"epoch/{name}"] == recorded(run, "epoch", name)


def test_a_resumed_run_doubles_nothing(make_config, tmp_path):
    run, config = RunFolder(tmp_path / "run"), make_config(tensorboard=True)
    for event in pretrain(config, run=run.path):
        if getattr(event, "step", 0) == 5:
            break  # past the checkpoint of step 3
    list(pretrain(config, run=run.path, resume=True))
    assert scalars(run)["total"] == recorded(run, "step", "total")


def test_without_the_package_the_folder_is_not_touched(make_config, tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(ours, "find_spec", lambda name: None if name == "tensorboard" else found(name))
    with pytest.raises(ValueError, match=r"pip install 'napari-sdmae\[tensorboard\]'"):
        list(pretrain(make_config(tensorboard=True), run=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_by_default_none_are_written(make_config, tmp_path):
    run = RunFolder(tmp_path / "run")
    list(pretrain(make_config(epochs=1), run=run.path))
    assert not run.tensorboard.exists()
