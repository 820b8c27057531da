"""Ablation: every cell is a real run, what is finished stays, and the table is checked against SciPy."""

from __future__ import annotations

import csv
import json
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from PIL import Image
from scipy.stats import sem

from napari_sdmae.cli import main
from napari_sdmae.config.ablation import TEACHERS, AblationConfig, Cell
from napari_sdmae.config.base import merge
from napari_sdmae.config.pretrain import LossConfig
from napari_sdmae.runs.events import Started, StepLogged
from napari_sdmae.runs.folder import RunFolder, RunFolderError
from napari_sdmae.training.ablation.plot import draw_results, number_axis
from napari_sdmae.training.ablation.run import SETTINGS, AblationEnded, RunEvent, ablate, read_results
from napari_sdmae.training.ablation.table import Result, compare, write_tables

EXAMPLE = Path(__file__).parents[3] / "examples" / "ablate.py"
Make = Callable[..., AblationConfig]


@pytest.fixture
def make(make_config, labelled_data) -> Make:
    """Return settings of an ablation whose runs take a second: two mask ratios, frozen features, nearest neighbours."""
    pretraining = make_config(epochs=1).model_dump(mode="json")
    data = pretraining.pop("data")
    common = {"device": "cpu", "precision": "fp32", "threads": 1, "log_every": 1, "preview_tiles": 2}
    values = {
        "data": data,
        "pretrain": pretraining,
        "grid": {"mask_ratio": [0.5, 0.75]},
        "evaluate": common
        | {
            "task": "classification",
            "data": labelled_data["classification"],
            "tile_px": 32,
            "epochs": 1,
            "batch_size": 4,
            "head": {"classifier": "knn", "neighbours": 3},
            "encoder": {"train": "frozen"},
        },
    }
    return lambda **changes: AblationConfig.model_validate(merge(values, changes))


def result(cell: Cell, seed: int, value: float) -> Result:
    return Result(cell, seed, "test", "accuracy", {"accuracy": value, "AUROC": value / 2})


def grid_of(values: dict[Cell, list[float]]) -> list[Result]:
    return [result(cell, seed, value) for cell, column in values.items() for seed, value in enumerate(column)]


CELLS = [Cell((("mask_ratio", ratio), ("teacher", teacher))) for ratio in (0.5, 0.75) for teacher in ("none", "sinkhorn")]


class TestSettings:
    def test_all_combinations_and_their_settings(self, make):
        config = make(grid={"mask_ratio": [0.5, 0.75], "loss.p": [0, 0.3]}, scratch=False)
        assert [cell.name for cell in config.cells()] == [
            f"mask_ratio {ratio}, loss.p {p}" for ratio in (0.5, 0.75) for p in (0, 0.3)
        ]
        last = config.pretrain_config(config.cells()[-1], 7)
        assert (last.mask_ratio, last.loss.p, last.loss.p_ramp_epochs, last.seed) == (0.75, 0.3, 1, 7)
        head = config.head_config(config.cells()[-1], 7, Path("run"))
        assert (head.model, head.seed, head.head.classifier) == ("run", 7, "knn")

    @pytest.mark.parametrize("teacher", TEACHERS)
    def test_named_teachers_are_whole_settings(self, make, teacher):
        config = make(grid={"teacher": [teacher]})
        loss = config.pretrain_config(config.cells()[0], 0).loss
        assert (loss.p == 0) == (teacher == "none")
        if teacher == "paper":
            published = LossConfig.paper(target_normalisation=loss.target_normalisation)
            assert loss.model_copy(update={"p": 0.2}) == published

    def test_presets_are_the_base(self, make):
        config = AblationConfig(
            data="slides",
            pretrain={"preset": "vit-tiny", "epochs": 3},
            evaluate={"preset": "paper-linear-probe", "data": "tiles"},
        )
        assert config.pretrain_config(Cell(()), 0).model.encoder == "vit_tiny_patch16_224"
        assert config.head_config(Cell(()), 0, Path("run")).head.classifier == "linear_probe"

    def test_from_scratch_is_the_same_encoder_untrained(self, make):
        config = make(scratch=True)
        cell = config.cells()[-1]
        head, model = config.head_config(cell, 0, Path("run")), config.pretrain_config(Cell(()), 0).model
        assert (cell.name, head.model, head.encoder.train) == ("from scratch", "scratch", "full")
        assert (head.encoder.width, head.encoder.depth, head.encoder.patch_size) == (
            model.encoder_width,
            model.encoder_depth,
            model.patch_size,
        )

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"grid": {"mask_ratio": [1.5]}}, "cell 'mask_ratio 1.5'"),
            ({"grid": {"maskratio": [0.5]}}, "maskratio"),
            ({"grid": {"teacher": ["dino"]}}, "no teacher 'dino'; there are: none, paper"),
            ({"grid": {"mask_ratio": []}}, "at least one value"),
            ({"grid": {"mask_ratio": [0.5, 0.5]}}, "two combinations have the same name"),
            ({"seeds": [1, 1]}, "no seed twice"),
            ({"evaluate": {"task": "flowers"}}, "task"),
            ({"epochs": 3}, "epochs"),
        ],
    )
    def test_what_cannot_work_is_refused_at_once(self, make, wrong, message):
        with pytest.raises(ValueError, match=message):
            make(**wrong)

    def test_folders_do_not_depend_on_the_other_cells(self, make):
        few = {cell.folder for cell in make().cells()}
        assert few < {cell.folder for cell in make(grid={"mask_ratio": [0.25, 0.5, 0.75]}).cells()}


class TestTable:
    def test_means_errors_and_paired_differences_against_scipy(self):
        rng = np.random.default_rng(0)
        values = {cell: rng.random(5).tolist() for cell in CELLS}
        for one in compare(grid_of(values)):
            own, first = np.array(values[one.cell]), np.array(values[CELLS[0]])
            assert one.mean == pytest.approx(own.mean())
            assert one.error == pytest.approx(sem(own))
            assert (one.seeds, one.pairs) == (5, 5)
            assert one.difference == pytest.approx((own - first).mean())
            assert one.difference_error == pytest.approx(sem(own - first))

    def test_differences_are_taken_between_the_same_seeds(self):
        results = [result(CELLS[0], 0, 0.5), result(CELLS[0], 1, 0.7), result(CELLS[1], 1, 0.9), result(CELLS[1], 2, 0.1)]
        second = compare(results)[1]
        assert (second.pairs, second.seeds) == (1, 2)
        assert second.difference == pytest.approx(0.2)

    def test_written_tables(self, tmp_path):
        write_tables(grid_of({CELLS[0]: [0.5, 0.7], CELLS[3]: [0.75, 0.85]}), tmp_path)
        rows = list(csv.DictReader((tmp_path / "results.csv").open()))
        assert [(row["mask_ratio"], row["teacher"], row["seed"], row["accuracy"]) for row in rows] == [
            ("0.5", "none", "0", "0.5"),
            ("0.5", "none", "1", "0.7"),
            ("0.75", "sinkhorn", "0", "0.75"),
            ("0.75", "sinkhorn", "1", "0.85"),
        ]
        table = (tmp_path / "results.md").read_text()
        assert "| mask_ratio 0.5, teacher none | 2 | 0.6000 ± 0.1000 |  |" in table
        assert "| mask_ratio 0.75, teacher sinkhorn | 2 | 0.8000 ± 0.0500 | +0.2000 ± 0.0500 |" in table

    def test_one_seed_has_no_error(self, tmp_path):
        write_tables(grid_of({CELLS[0]: [0.5], CELLS[1]: [0.4]}), tmp_path)
        assert "| mask_ratio 0.5, teacher sinkhorn | 1 | 0.4000 | -0.1000 |" in (tmp_path / "results.md").read_text()


class TestPlot:
    def test_numbers_make_lines_and_names_make_rows(self, tmp_path):
        values = {cell: [0.4 + 0.1 * place, 0.5] for place, cell in enumerate(CELLS)}
        assert number_axis(compare(grid_of(values))) == "mask_ratio"
        draw_results(grid_of(values | {Cell((), scratch=True): [0.1, 0.2]}), tmp_path)
        text = (tmp_path / "results.svg").read_text()
        ElementTree.fromstring(text)
        for words in ("mask_ratio", "teacher none", "teacher sinkhorn", "from scratch", "accuracy, test images"):
            assert f"<!-- {words} -->" in text
        names = {Cell((("teacher", name),)): [0.5] for name in TEACHERS}
        assert number_axis(compare(grid_of(names))) is None
        draw_results(grid_of(names), tmp_path)
        assert "<!-- teacher smooth_l1 -->" in (tmp_path / "results.svg").read_text()
        assert np.asarray(Image.open(tmp_path / "results.png"))[..., :3].std() > 5

    def test_without_matplotlib_it_says_how_to_get_it(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        line = draw_results(grid_of({CELLS[0]: [0.5]}), tmp_path)
        assert "pip install matplotlib" in line
        assert not list(tmp_path.iterdir())


class TestRuns:
    def test_stopped_in_the_middle_and_gone_on_with(self, make, tmp_path):
        """The whole way: stop inside the second pre-training, go on, start again; the first cell is never trained twice."""
        config, output = make(pretrain={"epochs": 2}), tmp_path / "ablation"
        seen: list[Any] = []

        def stop() -> str | None:
            inside = seen and isinstance(seen[-1], RunEvent) and seen[-1].number == 3 and isinstance(seen[-1].event, StepLogged)
            return "stop" if inside else None

        for event in ablate(config, output, stop=stop):
            seen.append(event)
        assert isinstance(seen[-1], AblationEnded)
        assert not seen[-1].finished
        assert [one.cell.name for one in seen[-1].results] == ["mask_ratio 0.5"]
        second = RunFolder(output / config.cells()[1].folder / "seed-0" / "pretrain")
        assert second.status().state == "paused"
        assert (output / "results.md").exists()
        first_model = output / config.cells()[0].folder / "seed-0" / "pretrain" / "model" / "model.safetensors"
        before = first_model.stat().st_mtime_ns
        again = list(ablate(config, output))
        assert {event.number for event in again if isinstance(event, RunEvent)} == {3, 4}
        assert again[-1].finished
        assert len(again[-1].results) == 2
        assert first_model.stat().st_mtime_ns == before
        steps = [record["step"] for record in second.metrics() if record["kind"] == "step"]
        assert steps == sorted(set(steps))
        finished = list(ablate(config, output))
        assert len(finished) == 1
        for one in finished[0].results:
            report = json.loads((output / one.cell.folder / "seed-0" / "head" / "report.json").read_text())
            assert one.value == report["test"][one.by]
        grown = make(pretrain={"epochs": 2}, grid={"mask_ratio": [0.5, 0.75, 0.25]})
        assert len(read_results(grown, output)) == 2
        with pytest.raises(RunFolderError, match="made with other settings"):
            list(ablate(make(pretrain={"epochs": 3}), output))

    def test_a_folder_with_other_things_is_left_alone(self, make, tmp_path):
        (tmp_path / "notes.txt").write_text("mine")
        with pytest.raises(RunFolderError, match="holds no ablation"):
            list(ablate(make(), tmp_path))
        assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]

    def test_a_folder_in_which_an_ablation_died_at_once_is_used(self, make, tmp_path):
        code = "from napari_sdmae.io.leftovers import reserved; reserved(Path(sys.argv[1])).write_text('half')"
        dying = f"import sys; from pathlib import Path; {code}"
        subprocess.run([sys.executable, "-c", dying, str(tmp_path / SETTINGS)], check=True)
        assert list(tmp_path.iterdir())
        list(ablate(make(), tmp_path, stop=lambda: "pause"))
        assert (tmp_path / SETTINGS).is_file()
        assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]

    def test_from_the_command_line_with_the_untrained_encoder(self, make, tmp_path, capsys):
        config = make(
            grid={"mask_ratio": [0.5]}, scratch=True, evaluate={"head": {"classifier": "mean"}, "encoder": {"train": "full"}}
        )
        path = tmp_path / "ablation.yaml"
        path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
        assert main(["ablate", "--config", str(path), "--list"]) == 0
        assert capsys.readouterr().out.splitlines() == ["mask_ratio 0.5", "from scratch"]
        assert main(["ablate", "--config", str(path), "--output", str(tmp_path / "out")]) == 0
        told = capsys.readouterr()
        assert "| from scratch | 1 |" in told.out
        assert "[3/3] from scratch, seed 0, head: finished" in told.err
        assert (tmp_path / "out" / "results.png").exists()

    def test_a_signal_pauses_it(self, make, tmp_path, monkeypatch, capsys):
        from napari_sdmae.cli import ablate as command

        told = command.describe
        sent: list[int] = []

        def describe(event: Any) -> str:
            if not sent and isinstance(event, Started):
                sent.append(signal.SIGTERM)
                os.kill(os.getpid(), signal.SIGTERM)
            return told(event)

        monkeypatch.setattr(command, "describe", describe)
        path = tmp_path / "ablation.yaml"
        path.write_text(yaml.safe_dump(make(pretrain={"epochs": 2}).model_dump(mode="json")))
        assert main(["ablate", "--config", str(path), "--output", str(tmp_path / "out")]) == 143
        assert "paused, start it again to go on; no run is finished yet" in capsys.readouterr().err
        assert RunFolder(tmp_path / "out" / "mask_ratio_0.5" / "seed-0" / "pretrain").status().state == "paused"

    @pytest.mark.parametrize(
        ("content", "message"),
        [("- a", "holds no settings"), ("data: a\nevaluate: {}", "task: Field required"), ("data: [", "this is no YAML")],
    )
    def test_a_wrong_file_is_bad_usage(self, tmp_path, capsys, content, message):
        (tmp_path / "a.yaml").write_text(content)
        assert main(["ablate", "--config", str(tmp_path / "a.yaml"), "--output", str(tmp_path / "out")]) == 2
        assert message in " ".join(capsys.readouterr().err.split())
        assert not (tmp_path / "out").exists()


def test_the_example(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "argv", ["ablate.py", str(tmp_path / "out")])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert "| mask_ratio 0.75 | 1 | 0." in capsys.readouterr().out
