"""No text in a table is run as a formula, and our own reader takes it back as it was."""

import csv
import io
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_sdmae.config.ablation import Cell
from napari_sdmae.io.labels.csv import write_label_table
from napari_sdmae.labels.label_map import LabelMap, make_classes
from napari_sdmae.runs.folder import RunFolder
from napari_sdmae.text.tables import harmless, restored, table_bytes
from napari_sdmae.training.ablation.table import Result, write_tables
from napari_sdmae.training.loop.start import report_unusable

ATTACKS = ["=cmd|' /C calc'!A0", "+1+1", "-2+3+cmd|' /C calc'!A0", "@SUM(1)", "\t=1", "\r=1", "\n=1", "a;=1+1", "＝1+1"]


@pytest.mark.parametrize("text", [*ATTACKS, "'=1", "''-a", "'", ";", "a;'=b;-c", "-negative", "tumour", "Drüse", "", "1;2"])
def test_text_comes_back(text: str) -> None:
    assert restored(harmless(text)) == text


def test_any_text_comes_back() -> None:
    chance = random.Random(0)
    for _ in range(3000):
        text = "".join(chance.choices("=+-@'; \tab1.\r\n", k=chance.randrange(6)))
        assert restored(harmless(text)) == text


@pytest.mark.parametrize("text", ATTACKS)
def test_no_cell_begins_as_a_formula(text: str) -> None:
    table = pd.DataFrame({"class": [text], text: [1.5]})
    for row in csv.reader(io.StringIO(table_bytes(table).decode(), newline="")):
        for part in ";".join(row).split(";"):
            assert not part.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝"))


def test_numbers_stay_numbers() -> None:
    table = pd.DataFrame({"a": [-1.5, np.nan], "b": [-2, 3], "c": ["-1.5", "+2e-3"], "d": [True, False]})
    assert table_bytes(table).decode() == "a,b,c,d\n-1.5,-2,-1.5,True\n,3,+2e-3,False\n"
    assert table_bytes(pd.DataFrame({"µ": [1 / 3]}), mark=True, digits=3).decode("utf-8") == "\ufeffµ\n0.333\n"


def rows(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))


def test_labels_quarantine_and_ablation_are_written_so(tmp_path: Path) -> None:
    label_map = LabelMap(np.ones((3, 3), np.int32), make_classes([ATTACKS[0]], 1), measurements={"label": [1], "=1+1": [-2.5]})
    write_label_table(label_map, tmp_path / "labels.csv")
    names, one = rows((tmp_path / "labels.csv").read_bytes())
    assert dict(zip(names, one, strict=True)).items() >= {("class", f"'{ATTACKS[0]}"), ("'=1+1", "-2.5")}
    run = RunFolder(tmp_path)
    report_unusable([("=a.png", "@damaged"), ("b.png", "no picture")], run)
    assert rows(run.quarantine.read_bytes()) == [["file", "reason"], ["'=a.png", "'@damaged"], ["b.png", "no picture"]]
    cell = Cell((("=1+1", -0.5), ("model", "-small")))
    write_tables([Result(cell, 0, "test", "accuracy", {"accuracy": 0.25})], tmp_path)
    names, one = rows((tmp_path / "results.csv").read_bytes())
    assert names == ["cell", "'=1+1", "model", "seed", "part", "compared_by", "accuracy"]
    assert one == ["'=1+1 -0.5, model -small", "-0.5", "'-small", "0", "test", "accuracy", "0.25"]
