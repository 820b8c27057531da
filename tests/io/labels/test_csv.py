"""The table of labels as pandas reads it."""

import label_cases as cases
import numpy as np
import pandas as pd
import pytest
import qupath_reader as qupath

from napari_sdmae.io.labels.csv import label_table
from napari_sdmae.io.labels.registry import export_labels


def test_the_table_as_pandas_reads_it(nuclei, tmp_path):
    label_map = cases.objects(nuclei)
    export_labels(label_map, tmp_path / "a.csv")
    table = pd.read_csv(tmp_path / "a.csv", encoding="utf-8-sig").set_index("label")
    assert list(table.index) == np.unique(nuclei[nuclei > 0]).tolist()
    for label in list(table.index)[::7]:
        rows, columns = np.nonzero(nuclei == label)
        row = table.loc[label]
        assert row["class"] == label_map.class_at(label).name
        assert row["area (µm²)"] == pytest.approx(len(rows) * 4 * 0.2526**2, rel=1e-6)
        assert row["centroid x (px)"] == pytest.approx(20.5 + (columns.mean() + 0.5) * 2, rel=1e-6)
        assert row["centroid y (µm)"] == pytest.approx((1034 + (rows.mean() + 0.5) * 2) * 0.2526, rel=1e-6)
    np.testing.assert_allclose(table["Area µm^2"], label_map.measurements["Area µm^2"])
    assert table["P(Tumour)"].isna().sum() == 1


def test_the_centroid_of_the_table_is_that_of_the_outline(tmp_path):
    label_map = cases.objects(cases.hard())
    export_labels(label_map, tmp_path / "a.geojson")
    table = label_table(label_map).set_index("label")
    one = next(one for one in qupath.read(tmp_path / "a.geojson") if one.metadata["label"] == "3")
    assert one.roi.centroid.x == pytest.approx(table.loc[3, "centroid x (px)"], abs=0.02)
    assert one.roi.centroid.y == pytest.approx(table.loc[3, "centroid y (px)"], abs=0.02)


def test_tables_without_scale_or_measurements(tmp_path):
    table = label_table(cases.classes(cases.hard(), mpp=None))
    assert list(table.columns) == ["label", "class", "class value", "centroid x (px)", "centroid y (px)", "area (px²)"]
    assert table["area (px²)"].sum() == np.count_nonzero(cases.classes(cases.hard()).labels)
    assert len(label_table(cases.objects(np.zeros((3, 3), np.int32), measurements={}))) == 0
