"""The parts that show a fine-tuning run: plot, report in words, confusion matrix, numbers, previews; and why it may not start."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels, Shapes
from PIL import Image

from napari_sdmae.data.labelled.inspect import LabelledInspection, PartInspection, ScaleRange
from napari_sdmae.labels.label_map import LabelClass
from napari_sdmae.runs.kind import run_kind
from napari_sdmae.widgets.finetune.confusion import ConfusionMatrix, row_shares
from napari_sdmae.widgets.finetune.new_run_page import FinetunePage
from napari_sdmae.widgets.finetune.number_table import NumbersTable
from napari_sdmae.widgets.finetune.plot import FinetunePlot, best_epoch, metric_written, with_validation
from napari_sdmae.widgets.finetune.preflight import amounts, summary
from napari_sdmae.widgets.finetune.readiness import FoundLabels, LabelledSituation
from napari_sdmae.widgets.finetune.report import live_rows, read_report, report_of
from napari_sdmae.widgets.pretrain.new_run_page import PretrainPage
from napari_sdmae.widgets.runs.new_run_page import NewRunPage
from napari_sdmae.widgets.runs.preview_layers import PreviewLayers
from napari_sdmae.widgets.runs.readiness import reason_not_to_start

pytestmark = pytest.mark.gui
CLASSES = [{"value": 0, "name": "benign", "colour": [10, 20, 30]}, {"value": 1, "name": "tumour", "colour": [230, 75, 53]}]
REPORT = {
    "finished": True,
    "selected": {"epoch": 7, "step": 70, "by": "validation/balanced_accuracy", "value": 0.75},
    "validation": {"balanced_accuracy": 0.75, "F1": 0.7},
    "test": {"balanced_accuracy": 0.625, "F1": 0.6},
    "images": {"train": 40, "validation": 12, "test": 8},
    "groups": {"train": 5, "validation": 3, "test": None},
    "classes": CLASSES,
    "reported_on": "test",
    "confusion": [[3, 1], [2, 2]],
    "per_class": {"benign": {"recall": 0.75}, "tumour": {"recall": 0.5, "F1": 0.57}},
    "warnings": ["slide IDs are missing"],
}


def record(kind, epoch, **values):
    return {"kind": kind, "step": int(10 * epoch), "epoch": epoch, "total": 1 / (epoch + 1), **values}


RECORDS = [record("step", step / 4) for step in range(1, 13)] + [
    record("epoch", epoch, **{"validation/mIoU": value, "validation/Dice": value + 0.1})
    for epoch, value in ((1, 0.3), (2, 0.6), (3, 0.6), (4, 0.5))
]


def test_the_best_epoch_is_the_last_of_equal_ones_as_the_run_keeps_it():
    assert metric_written(RECORDS) == "mIoU"
    assert metric_written(RECORDS[:3]) == ""
    assert best_epoch(with_validation(RECORDS, "mIoU")) == (3.0, 0.6)
    assert best_epoch(RECORDS) is None


def test_loss_left_validation_right_and_a_star_on_the_epoch_that_is_kept(qtbot):
    plot = FinetunePlot()
    qtbot.addWidget(plot)
    plot.set_colours("#262930", "#f0f1f2")
    plot.show_records(RECORDS)
    qtbot.waitUntil(lambda: len(plot.lines["validation"][1].get_xdata()) == 4, timeout=20000)
    np.testing.assert_allclose(plot.lines["validation"][1].get_ydata(), [0.3, 0.6, 0.6, 0.5])
    assert len(plot.lines["total"][0].get_xdata()) == 12
    assert (plot.star.get_xdata()[0], plot.star.get_ydata()[0]) == (3, 0.6)
    assert plot.lines["validation"][0].axes is plot.star.axes is plot.information is not plot.losses
    assert [text.get_text() for text in plot.legend.get_texts()] == [
        "training loss",
        "mIoU, validation (right)",
        "epoch 3 is kept",
    ]
    assert plot.information.get_ylim()[1] > 0.6 * 1.05
    plot.show_records([])
    qtbot.waitUntil(lambda: len(plot.star.get_xdata()) == 0, timeout=20000)


def test_the_report_says_what_selected_and_what_was_tested():
    report = report_of(REPORT)
    assert report.words == (
        "Kept: epoch 7, selected by balanced accuracy 0.750 on 12 validation images of 3 slides or patients (F1 0.700).\n"
        "Tested once on 8 test images, unused until then: balanced accuracy 0.625, F1 0.600."
    )
    assert (report.rows_of, report.classes) == ("test images", ("benign", "tumour"))
    single = report_of(REPORT | {"images": {"train": 1, "validation": 1, "test": 1}}).words
    assert "on 1 test image, unused until then" in single
    assert report.warnings == ("slide IDs are missing",)


def test_a_report_without_a_test_or_selection_says_so():
    stopped = REPORT | {"test": None, "reported_on": "validation"}
    assert report_of(stopped).words.endswith("Not tested: the run ended before its last epoch.")
    assert report_of(stopped).rows_of == "validation images"
    none = {"train": 40, "validation": 0, "test": 0}
    bare = REPORT | {"test": None, "validation": None, "reported_on": None, "images": none, "confusion": None, "per_class": {}}
    words = report_of(bare | {"selected": {"epoch": 50, "by": None, "value": None}}).words
    assert words.startswith("Kept: epoch 50, the last. There were no validation images to select by.")
    assert "the accuracy on other images is unknown" in words
    assert report_of(bare).rows_of == ""


def test_a_report_that_is_not_there_or_not_whole_is_none(tmp_path):
    assert read_report(tmp_path) is None
    (tmp_path / "report.json").write_text(json.dumps(REPORT)[:100])
    assert read_report(tmp_path) is None
    (tmp_path / "report.json").write_text(json.dumps(REPORT))
    assert read_report(tmp_path) == report_of(REPORT)


def test_the_latest_numbers_while_it_runs():
    assert live_rows(RECORDS) == {"epoch 4": {"mIoU": 0.5, "Dice": 0.6}}
    assert live_rows(RECORDS[:3]) == {}


def test_shares_of_each_true_class_by_hand():
    shares = row_shares(np.array([[3, 1], [0, 0]]))
    np.testing.assert_allclose(shares, [[0.75, 0.25], [np.nan, np.nan]])


def test_the_matrix_is_really_drawn_with_a_number_in_each_cell(qtbot):
    matrix = ConfusionMatrix()
    qtbot.addWidget(matrix)
    matrix.set_colours("#262930", "#f0f1f2")
    matrix.show_matrix(REPORT["confusion"], ["benign", "a very long name of a class"])
    matrix.show()
    assert [text.get_text() for text in matrix.axes.texts] == ["75%", "25%", "50%", "50%"]
    assert matrix.axes.get_yticklabels()[1].get_text() == "a very long…"
    matrix.canvas.draw()
    pixels = np.asarray(matrix.canvas.buffer_rgba())[..., :3].reshape(-1, 3)
    assert (pixels[0] == (0x26, 0x29, 0x30)).all()
    assert len(np.unique(pixels, axis=0)) > 20
    matrix.show_matrix(None, [])
    assert matrix.isHidden()


def test_numbers_that_are_missing_are_dashes(qtbot):
    table = NumbersTable()
    qtbot.addWidget(table)
    table.show_rows(REPORT["per_class"])
    shown = [[table.item(row, column).text() for column in range(2)] for row in range(2)]
    assert shown == [["0.750", "–"], ["0.500", "0.570"]]
    table.show_rows({})
    assert table.isHidden()


@pytest.fixture
def write(tissue, tmp_path):
    """Write the preview of an epoch of the run ``run``, from real tiles; the head appears with the second."""
    files = sorted((tissue / "tiles").rglob("*.jpg"))[:3]
    tiles = np.stack([np.asarray(Image.open(file).convert("RGB").resize((32, 32))) for file in files])

    def preview(epoch: int, truth, prediction, task: str) -> Path:
        path = tmp_path / "run" / "previews" / f"epoch-{epoch:06d}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, input=tiles, truth=truth, prediction=prediction)
        if epoch > 1:
            (tmp_path / "run" / "model").mkdir(exist_ok=True)
            (tmp_path / "run" / "model" / "config.json").write_text(json.dumps({"classes": CLASSES, "task": task}))
        return path

    return preview


def test_masks_are_shown_in_the_colours_of_the_head_and_updated_in_place(write, tmp_path):
    viewer = ViewerModel()
    previews = PreviewLayers(viewer)
    previews.attach(tmp_path / "run")
    truth = np.ones((3, 32, 32), np.int32)
    previews.show(write(1, truth, truth * 0, "segmentation"))
    assert [layer.name for layer in viewer.layers] == ["run · input", "run · truth", "run · prediction"]
    shown = viewer.layers[2]
    assert isinstance(shown, Labels)
    assert shown.data.shape == (32, 3 * 32 + 2 * 8)
    shown.opacity = 0.3
    previews.show(write(2, truth, truth, "segmentation"))
    assert viewer.layers[2] is shown
    assert shown.data[0, 0] == 1
    assert shown.opacity == 0.3
    np.testing.assert_allclose(shown.colormap.color_dict[1][:3] * 255, (230, 75, 53), atol=1)
    previews.mark_failed(True)
    assert shown.name == "run · prediction (failed)"


def test_numbered_objects_keep_colours_that_tell_neighbours_apart(write, tmp_path):
    viewer = ViewerModel()
    previews = PreviewLayers(viewer)
    previews.attach(tmp_path / "run")
    numbers = np.arange(3 * 32 * 32, dtype=np.int32).reshape(3, 32, 32) // 100
    previews.show(write(2, numbers, numbers, "instances"))
    assert not hasattr(viewer.layers[1].colormap, "color_dict")


def test_a_frame_says_the_class_of_a_tile_and_the_mistake(write, tmp_path):
    viewer = ViewerModel()
    previews = PreviewLayers(viewer)
    previews.attach(tmp_path / "run")
    truth = np.array([0, 1, 1])
    previews.show(write(2, truth, np.array([0, 0, 1]), "classification"))
    frames = viewer.layers[1]
    assert isinstance(frames, Shapes)
    assert list(frames.features["said"]) == ["benign", "tumour\n→ benign", "tumour"]
    assert [tuple(np.round(colour[:3] * 255)) for colour in frames.edge_color] == [(0, 200, 160), (255, 90, 90), (0, 200, 160)]
    previews.show(write(3, truth, truth, "classification"))
    assert viewer.layers[1] is frames
    assert list(frames.features["said"]) == ["benign", "tumour", "tumour"]
    assert list(frames.text.values) == ["benign", "tumour", "tumour"]
    assert len({tuple(colour) for colour in frames.edge_color}) == 1


def test_what_was_found_in_words():
    parts = {
        part: PartInspection(images, 4, {"benign": images * 700_000, "tumour": images}, {})
        for part, images in (("train", 40), ("validation", 12), ("test", 8))
    }
    found = LabelledInspection(
        task="segmentation",
        images=60,
        classes=tuple(LabelClass.model_validate(one) for one in CLASSES),
        amount="pixels",
        parts=parts,
        grouped_by="slide",
        smallest=(64, 64),
        largest=(64, 64),
        mpp=ScaleRange(0.25, 0.5, 2),
        unusable=(("a", "b"),),
        warnings=(),
        notes=(),
        fingerprint="",
    )
    assert summary(found) == (
        "60 labelled images, 1 more cannot be used\n40 training, 12 validation, 8 test images; each slide on one side\n"
        "Scale: 0.25 to 0.5 µm/px, of 2 images unknown\nPixels of each class:"
    )
    assert "on one side" not in summary(replace(found, grouped_by=None))
    assert "Scale: unknown\n" in summary(replace(found, mpp=ScaleRange(None, None, 60)))
    assert amounts(found)["benign"] == {"training": "28.00 M", "validation": "8.40 M", "test": "5.60 M"}
    assert amounts(found)["tumour"] == {"training": "40", "validation": "12", "test": "8"}


@pytest.fixture
def ready(tmp_path) -> LabelledSituation:
    return LabelledSituation(source=tmp_path, found=FoundLabels(10, 2, 2, 1), output=tmp_path / "runs")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"run_live": True}, "A run is training"),
        ({"source": None}, "Choose labelled images."),
        ({"source": Path("/away")}, "does not exist"),
        ({"model_problem": "no model at 'x'"}, "no model at 'x'"),
        ({"problems": ["Scale seen: too large"]}, "Scale seen: too large"),
        ({"output": None}, "Choose the folder to save runs in"),
        ({"output": Path(__file__)}, "is a file"),
        ({"checking": True, "found": None}, "Checking the labelled images"),
        ({"check_failed": "No masks.", "found": None}, "No masks."),
        ({"found": None}, "not been checked"),
        ({"found": FoundLabels(0, 2, 2, 0)}, "No image is left to train on"),
    ],
)
def test_each_reason_not_to_start_in_words(ready, change, words):
    assert reason_not_to_start(ready) == ""
    assert words in reason_not_to_start(replace(ready, **change))


def test_the_kind_of_a_run_is_read_from_its_settings(tmp_path):
    assert run_kind(tmp_path) is None
    (tmp_path / "config.yaml").write_text("task: segmentation\nepochs: 3\n")
    assert run_kind(tmp_path) == "finetune"
    (tmp_path / "config.yaml").write_text("epochs: 3\nmodel:\n  task: 1\n")
    assert run_kind(tmp_path) == "pretrain"


@pytest.mark.parametrize("made", [PretrainPage, FinetunePage])
def test_what_differs_between_the_trainings_is_there_for_both(made):
    """Python does not refuse an abstract class of Qt: a method left out would only be noticed when a button is pressed."""
    left = {name for name, value in vars(NewRunPage).items() if getattr(value, "__isabstractmethod__", False)}
    assert len(left) == 6
    assert left <= set(vars(made))
