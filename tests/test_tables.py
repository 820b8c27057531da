"""No text in a table is run as a formula, and our own reader takes it back as it was."""

import csv
import io
import random

import numpy as np
import pandas as pd
import pytest

from napari_sdmae.tables import harmless, restored, table_bytes

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
