"""``sdmae export`` from any format to any other, and what it says when it cannot."""

import json
from pathlib import Path

import label_cases as cases
import numpy as np
import pandas as pd
import pytest
import qupath_reader as qupath
from PIL import Image

from napari_sdmae.cli import export as command
from napari_sdmae.cli import main
from napari_sdmae.io.labels.registry import FORMATS, export_labels, import_labels

ENDS = ["a.geojson", "a.geojson.gz", "a.ome.tif", "a.ome.zarr", "a.png", "a.json"]


def test_from_every_format_to_all_others(tmp_path, capsys):
    label_map = cases.objects(cases.hard())
    for end in ENDS:
        source, target = tmp_path / f"from {end}", tmp_path / f"to {end}"
        source.mkdir()
        export_labels(label_map, source / end)
        outputs = [str(target / one) for one in [*ENDS, "a.csv"]]
        assert main(["export", str(source / end), "--output", *outputs]) == 0
        printed = capsys.readouterr()
        assert printed.out.splitlines() == [*outputs[:5], str(target / "a.classes.json"), *outputs[5:]]
        assert printed.err == ""
        for one in ENDS:
            cases.assert_same(import_labels(target / one), label_map, measurements=False)
        assert len(qupath.read(target / "a.geojson")) == 11
        assert len(pd.read_csv(target / "a.csv", encoding="utf-8-sig")) == 11


def test_masks_of_another_program_become_annotations_or_objects(tmp_path, capsys):
    labels = cases.hard().astype(np.uint8)
    Image.fromarray(labels).save(tmp_path / "mask.png")
    arguments = ["export", str(tmp_path / "mask.png"), "--mpp", "0.5", "--output"]
    assert main([*arguments, str(tmp_path / "a.geojson")]) == 0
    assert {one.kind for one in qupath.read(tmp_path / "a.geojson")} == {"annotation"}
    assert import_labels(tmp_path / "a.geojson").mpp == 0.5
    assert main([*arguments, str(tmp_path / "b.geojson"), "--instances", "--object-type", "cell"]) == 0
    assert {one.kind for one in qupath.read(tmp_path / "b.geojson")} == {"cell"}
    assert main([*arguments, str(tmp_path / "c.json"), "--format", "coco-polygons", "--instances"]) == 0
    assert any(isinstance(one["segmentation"], list) for one in json.loads((tmp_path / "c.json").read_text())["annotations"])
    capsys.readouterr()


def test_qupath_to_a_mask_of_the_whole_picture(tmp_path, capsys):
    ring = [[10, 20], [14, 20], [14, 24], [10, 24], [10, 20]]
    shape = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {}}
    point = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}, "properties": {}}
    (tmp_path / "q.geojson").write_text(json.dumps([shape, point]))
    output = tmp_path / "a.png"
    assert main(["export", str(tmp_path / "q.geojson"), "--shape", "40", "50", "--output", str(output)]) == 0
    assert "note: skipped 1 Point: it encloses no area" in capsys.readouterr().err
    with Image.open(output) as image:
        mask = np.asarray(image)
    assert mask.shape == (40, 50)
    assert mask[20:24, 10:14].all()
    assert mask.sum() == 16
    coarse = ["--shape", "20", "25", "--step", "2", "--overwrite", "--output", str(output)]
    assert main(["export", str(tmp_path / "q.geojson"), *coarse]) == 0
    assert import_labels(output).step == 2


def test_files_that_are_there_stay(tmp_path, capsys):
    export_labels(cases.objects(cases.hard()), tmp_path / "a.geojson")
    (tmp_path / "a.classes.json").write_text("mine")
    for output in ("b.csv", "a.png"):
        (tmp_path / "b.csv").write_text("mine")
        assert main(["export", str(tmp_path / "a.geojson"), "--output", str(tmp_path / output)]) == 2
        assert "already there" in capsys.readouterr().err
    assert (tmp_path / "b.csv").read_text() == "mine"
    assert main(["export", str(tmp_path / "a.geojson"), "--overwrite", "--output", str(tmp_path / "b.csv")]) == 0


@pytest.mark.parametrize("format", [*FORMATS, None])
def test_a_folder_stays_whatever_is_asked(format, tmp_path, capsys):
    export_labels(cases.objects(cases.hard()), tmp_path / "a.geojson")
    folder = tmp_path / "thesis.ome.tif"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    chosen = [] if format is None else ["--format", format]
    assert main(["export", str(tmp_path / "a.geojson"), *chosen, "--output", str(folder), "--overwrite"]) == 2
    error = capsys.readouterr().err
    assert str(folder) in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.geojson", "thesis.ome.tif"]
    assert (folder / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("end", [*ENDS, "a.csv"])
def test_the_same_labels_give_the_same_files(end, tmp_path):
    for name in ("one", "two"):
        export_labels(cases.objects(cases.hard()), tmp_path / name / end)
    one, two = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*") if path.is_file()}
        for name in ("one", "two")
    )
    assert one == two


@pytest.mark.parametrize(
    ("arguments", "status", "problem"),
    [
        (["none.png", "--output", "b.csv"], 3, "none.png: there is no such file"),
        (["text.png", "--output", "b.csv"], 3, "text.png: not a PNG"),
        (["a.png", "--output", "b.xyz"], 2, "its end names no format"),
        (["a.xyz", "--output", "b.csv"], 2, "its end names no format"),
        (["b.csv", "--output", "b.geojson"], 2, "a table holds no labels"),
        (["a.png", "--output", "a.png", "--overwrite"], 2, "is the file that is read"),
        (["a.png", "--output", "b.csv", "b.csv"], 2, "names one file twice"),
        (["a.png", "--output", "b.csv", "--mpp", "0"], 2, "expected 0.05 to 20"),
        (["a.png", "--output", "b.geojson", "--shape", "0", "4"], 2, "expected rows and columns"),
        (["a.png", "--output", "b.geojson", "--shape", "9", "9"], 2, "only GeoJSON"),
        (["a.png", "--output", "b.geojson", "--step", "0"], 2, "full-resolution pixels per label pixel"),
        (["a.png", "--output", "b.csv", "--object-type", "cell"], 2, "it is for GeoJSON only"),
        (["a.png", "--output", "b.geojson", "--object-type", "cell"], 2, "cannot be cells"),
        (["a.png", "--output", "b.geojson", "--bounds", "none.svs"], 3, "there is no slide none.svs"),
        (["a.png", "--output", "text.png/b.csv"], 1, "text.png is a file or lies below one"),
    ],
)
def test_one_line_and_the_right_status(arguments, status, problem, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(cases.hard().astype(np.uint8)).save("a.png")
    Path("text.png").write_text("no picture")
    assert main(["export", *arguments]) == status
    error = capsys.readouterr().err
    assert problem in error
    assert error.startswith("sdmae export: ")
    assert error.count("\n") == 1
    assert not Path("b.csv").exists()
    assert not Path("b.geojson").exists()


def test_formats_are_those_of_the_library(capsys):
    assert set(command.FORMATS) == set(FORMATS)
    with pytest.raises(SystemExit) as end:
        main(["export", "--help"])
    assert end.value.code == 0
    assert "--object-type" in capsys.readouterr().out


def test_labels_of_several_pictures_are_written_for_each_or_for_one(tmp_path, capsys):
    images = [{"id": number, "file_name": f"slides/{name}.png", "width": 8, "height": 6} for number, name in enumerate("aµ", 1)]
    annotations = [
        {
            "id": number,
            "image_id": number,
            "category_id": 1,
            "segmentation": [[number, 1, number + 3, 1, number + 3, 4, number, 4]],
        }
        for number in (1, 2)
    ]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "a"}]}
    (tmp_path / "two.json").write_text(json.dumps(content))
    export = ["export", str(tmp_path / "two.json"), "--output", str(tmp_path / "m.ome.tif"), str(tmp_path / "m.csv")]
    assert main(export) == 0
    printed = capsys.readouterr()
    names = [f"m-slides-{name}.{end}" for name in "aµ" for end in ("ome.tif", "csv")]
    assert [Path(line).name for line in printed.out.splitlines()] == names
    assert "labels of 2 pictures: each has files of its own (--image NAME reads one)" in printed.err
    for number, name in enumerate("aµ", 1):
        expected = np.zeros((6, 8), int)
        expected[1:4, number : number + 3] = 1
        np.testing.assert_array_equal(import_labels(tmp_path / f"m-slides-{name}.ome.tif").labels, expected)
    assert main(export) == 2
    assert "already there: give --overwrite" in capsys.readouterr().err
    assert main([*export, "--image", "µ.png"]) == 0
    assert [Path(line).name for line in capsys.readouterr().out.splitlines()] == ["m.ome.tif", "m.csv"]
    assert main([*export[:-1], str(tmp_path / "o.csv"), "--image", "b.png", "--overwrite"]) == 3
    assert "no pictures 'b.png' in it: there are slides/a.png, slides/µ.png" in capsys.readouterr().err
