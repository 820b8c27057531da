"""No answer outlives its question: every dock that asks about a picture × everything that may happen to it.

The worker is played, so that a test says when the answer comes. All events are tried in docks on napari's viewer without its
canvas, which takes the time, and those that were once wrong in a real window.
"""

from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtWidgets import QApplication

from napari_sdmae.inference.attention.result import AttentionMap, AttentionResult
from napari_sdmae.inference.scribbles.samples import LinearHead, Samples, ScribbleHead
from napari_sdmae.io.images.field import Grid
from napari_sdmae.io.model_info.head import read_head_spec
from napari_sdmae.io.model_info.info import ModelInfo
from napari_sdmae.labels.label_map import LabelMap, make_classes
from napari_sdmae.labels.serialization import METADATA_KEY, plugin_metadata
from napari_sdmae.widgets.attention import dock as attention
from napari_sdmae.widgets.base import standing
from napari_sdmae.widgets.reconstruct.dock import ReconstructWidget
from napari_sdmae.widgets.scribbles import dock as scribbles
from napari_sdmae.widgets.scribbles import save
from napari_sdmae.widgets.segment import export, label_panel
from napari_sdmae.widgets.segment.dock import SegmentWidget
from napari_sdmae.worker.protocol import (
    AttentionRequest,
    ErrorCode,
    ImportRequest,
    ImportResult,
    MeasureRequest,
    ReconstructRequest,
    ReconstructResult,
    ScribbleRequest,
    ScribbleResult,
    SegmentRequest,
    SegmentResult,
    WorkerError,
)

pytestmark = pytest.mark.gui
RGB = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
LABELS = np.repeat(np.repeat(np.array([[1, 2, 2], [1, 1, 2]], np.int32), 32, 0), 32, 1)


class PlayedWorker:
    """Keeps what it is asked until a test lets it answer."""

    def __init__(self):
        self.asked = {}

    def submit(self, request, on_result, on_error, *, user, purpose="", live=False):
        if purpose != "warm":
            self.asked[purpose] = request() if callable(request) else request, on_result, on_error

    def forget(self, user, purpose=""):
        self.asked.pop(purpose, None)

    cancel = forget

    def answer(self, failure=None):
        """Answer all questions that are open; return how many there were."""
        asked, self.asked = self.asked, {}
        for request, on_result, on_error in asked.values():
            on_result(RESULTS[type(request)](request)) if failure is None else on_error(failure)
        return len(asked)


def model_called(model):
    return ModelInfo(model, model, False, Path(model), "vit", 64, 16, 3, 3, None, "patch", has_decoder=True)


def attention_result(request):
    values, numbers = np.ones((4, 6), np.float32), {"entropy": (1.0,), "gini": (0.5,)}
    found = AttentionMap(values, Grid(4, 6, 16), request.method, request.block, request.head, (1, 0), **numbers)
    return AttentionResult(found, model_called(request.model), blocks=3, heads=3, downsample=1)


def reconstruction_result(request):
    error, model = np.zeros(request.image.shape[:2], np.float32), model_called(request.model)
    return ReconstructResult(request.image, request.image, error, 0.25, request.mask_ratio, request.seed, model, {})


def labels_of(request):
    return LabelMap(LABELS[: request.image.shape[0], : request.image.shape[1]], make_classes(["one", "two"], 1))


def scribble_result(request):
    values = np.array([1, 2])
    samples, head = Samples(np.zeros((2, 3), np.float32), values, values, np.arange(2)), LinearHead(np.zeros((2, 3)), np.zeros(2))
    return ScribbleResult(
        label_map=labels_of(request),
        probabilities=None,
        channels=(1, 2),
        samples=samples,
        head=ScribbleHead(head, (1, 2), None),
        method="linear",
        detail=1,
        agreement={1: 1.0, 2: 1.0},
        counts={1: 2, 2: 2},
        few=(),
        cached=True,
        model=model_called(request.model),
        note="",
    )


def segment_result(request):
    about = {"head": read_head_spec(request.head), "head_name": "a head", "head_folder": request.head, "precision": "fp32"}
    return SegmentResult(labels_of(request), None, ("one", "two"), (), **about, seen_mpp=None, warnings=(), seconds={})


RESULTS = {
    AttentionRequest: attention_result,
    ReconstructRequest: reconstruction_result,
    ScribbleRequest: scribble_result,
    SegmentRequest: segment_result,
    MeasureRequest: lambda request: request.label_map,
}


DOCKS = {
    "Attention": attention.AttentionWidget,
    "Reconstruct": ReconstructWidget,
    "Scribbles": scribbles.ScribblesWidget,
    "Segment": SegmentWidget,
}


class Played:
    """One dock with its picture, and how a person uses it."""

    def __init__(self, title, viewer, worker, models, heads):
        self.title, self.viewer, self.worker = title, viewer, worker
        self.widget = DOCKS[title](viewer)
        controls = self.widget if title == "Reconstruct" else self.widget.controls
        self.image = controls.image
        self.state = controls.state
        self.model = controls.head if title == "Segment" else controls.model
        self.models = [heads / "segmentation", heads / "instances"] if title == "Segment" else models
        self.failure = controls.failure
        self.place = 0

    def begin(self):
        """Open a picture beside all others (napari on software OpenGL crashes when they are removed), choose the model, ask."""
        self.model.choose(self.models[0])
        self.place += 1000
        place = {"scale": (0.5, 0.5), "units": ("µm", "µm"), "translate": (0, self.place)}
        layer = self.viewer.add_image(RGB.copy(), name="tile", **place)
        self.image.choose(layer)
        self.ask()
        return layer

    def ask(self):
        if self.title == "Scribbles":
            self.widget.controls.live.setChecked(False)
            self.widget.brush("paint")
            strokes = self.widget.strokes_layer
            strokes.data[2:6, 2:6], strokes.data[20:24, 30:34] = 1, 2
            self.widget.segment()
        else:
            names = {"Attention": "show_attention", "Reconstruct": "reconstruct", "Segment": "segment"}
            getattr(self.widget, names[self.title])()

    def answered(self, layer):
        """Names of the layers that say something about `layer` now."""
        of_dock = (one for one in self.viewer.layers if plugin_metadata(one).get("id", "").startswith(f"{layer.unique_id}/"))
        return [
            one.name
            for one in of_dock
            if not one.metadata[METADATA_KEY].get("withdrawn") and "strokes_on" not in one.metadata[METADATA_KEY]
        ]

    def settle(self):
        """Let the look at pixels that is due after a moment happen now."""
        self.widget.standing.check()
        QApplication.processEvents()

    @property
    def told(self):
        """What the dock says of an answer."""
        labels = {"Attention": "numbers", "Scribbles": "agreement"}
        return getattr(self.widget.controls, labels[self.title]).text() if self.title in labels else self.state.text()


def reshape(played, layer):
    layer.data = RGB[:32, :48].copy()


def paint(played, layer):
    layer.data[10:20] = 0
    layer.refresh()


FALLS = {
    "replaced": lambda played, layer: setattr(layer, "data", 255 - layer.data),
    "reshaped": reshape,
    "painted in place": paint,
    "moved": lambda played, layer: setattr(layer, "translate", (5, 5)),
    "scaled": lambda played, layer: setattr(layer, "scale", (0.25, 0.25)),
    "in other units": lambda played, layer: setattr(layer, "units", ("nm", "nm")),
    "turned": lambda played, layer: setattr(layer, "rotate", 30),
    "another model": lambda played, _: played.model.choose(played.models[1]),
    "no model": lambda played, _: played.model.choose("/nowhere"),
    "removed": lambda played, layer: played.viewer.layers.remove(layer),
}
FIGURES = ("Entropy", "Mean error", "Consistency", "one 5")
"""What Attention, Reconstruct, Scribbles and Segment tell of a result."""
OF_MODEL = ("another model", "no model")
STANDS = {
    "nothing": lambda played, layer: None,
    "renamed": lambda played, layer: setattr(layer, "name", "other"),
    "duplicated": lambda played, layer: played.viewer.add_image(layer.data.copy(), translate=(500, played.place)),
    "hidden": lambda played, layer: setattr(layer, "visible", False),
    "equal pixels": lambda played, layer: setattr(layer, "data", layer.data.copy()),
    "moved down": lambda played, layer: played.viewer.layers.move(0, len(played.viewer.layers)),
}


@pytest.fixture
def play(fresh_memory, monkeypatch, model_folder, other_model_folder, head_folders):
    worker = PlayedWorker()
    for module in (standing, attention, scribbles, label_panel, export, save):
        monkeypatch.setattr(module, "query_worker", lambda: worker)
    return lambda title, viewer: Played(title, viewer, worker, [model_folder, other_model_folder], head_folders)


@pytest.fixture(params=["Attention", "Reconstruct", "Scribbles", "Segment"])
def played(request, qtbot, play):
    viewer = ViewerModel()
    viewer.canvas.size = (600, 800)
    played = play(request.param, viewer)
    qtbot.addWidget(played.widget)
    return played


def test_what_happens_before_the_answer_drops_it(played):
    for event, happen in FALLS.items():
        layer = played.begin()
        happen(played, layer)
        played.settle()
        if played.title == "Attention" and event == "another model":  # asked at once of the other
            assert [request.model for request, *_ in played.worker.asked.values()] == [str(played.models[1])]
            played.worker.asked.clear()
        played.worker.answer()
        assert played.answered(layer) == [], event
        assert "was discarded: " in played.state.text() or event in OF_MODEL, event
        played.ask() if layer in played.viewer.layers and event != "no model" else None
        played.worker.answer()
        assert played.answered(layer) or layer not in played.viewer.layers or event == "no model", event


def test_what_happens_after_the_answer_takes_it_back(played):
    for event, happen in FALLS.items():
        layer = played.begin()
        played.worker.answer()
        before = played.answered(layer)
        assert before, event
        assert any(word in played.told for word in FIGURES), event
        happen(played, layer)
        played.settle()
        kept = played.title == "Segment" and event in OF_MODEL
        assert played.answered(layer) == (before if kept else []), event
        if played.image.layer is layer:  # when it was removed, what is told is of the picture that is chosen in its place
            assert not any(word in played.told for word in FIGURES), event


def test_what_changes_nothing_leaves_the_answer(played):
    for event, happen in STANDS.items():
        layer = played.begin()
        happen(played, layer)
        played.settle()
        played.worker.answer()
        assert played.answered(layer), event
        happen(played, layer)
        played.settle()
        assert played.answered(layer), event
        assert played.told, event
        assert event != "renamed" or all(name.startswith("other · ") for name in played.answered(layer))


def test_what_is_taken_back_comes_back_as_it_was(played):
    layer = played.begin()
    played.worker.answer()
    shown = played.answered(layer)
    views = [one for one in played.viewer.layers if one.name in shown]
    views[0].visible, views[0].name = False, "mine"
    before, told = [(one.name, one.visible) for one in views], played.told
    place, layer.translate = tuple(layer.translate), (9, 9)
    played.settle()
    assert not any(one.visible for one in views)
    layer.translate = place
    played.settle()
    assert [(one.name, one.visible) for one in views] == before
    assert played.told == told


def test_another_picture_has_an_answer_of_its_own(played):
    first = played.begin()
    played.worker.answer()
    told, shown = played.told, played.answered(first)
    place = {name: getattr(first, name) for name in ("scale", "units", "translate")}
    second = played.viewer.add_image(255 - RGB, name="second", **place)
    played.image.choose(second)
    assert played.told == ""
    assert played.answered(first) == (shown if played.title == "Segment" else []), "it lies over the second picture"
    played.ask()
    played.worker.answer()
    assert played.answered(second)
    played.image.choose(first)
    assert (played.told, played.answered(first)) == (told, shown)


def test_a_failure_of_a_question_that_fell_is_not_shown(played):
    layer = played.begin()
    played.viewer.layers.remove(layer)
    played.worker.answer(WorkerError(ErrorCode.OUT_OF_MEMORY, "out of memory"))
    assert played.failure.failure is None
    layer = played.begin()
    played.worker.answer()
    played.ask()
    played.worker.answer(WorkerError(ErrorCode.OUT_OF_MEMORY, "out of memory"))
    assert played.failure.failure.line == "out of memory"
    assert played.answered(layer) == []
    played.model.choose(played.models[1])
    assert played.failure.failure is None, "it was that of another model"
    assert played.told == ""


def test_a_button_pressed_twice_asks_once(played):
    played.begin()
    played.ask()
    assert len(played.worker.asked) == 1


@pytest.fixture
def scribbled(qtbot, play):
    played = play("Scribbles", ViewerModel())
    qtbot.addWidget(played.widget)
    return played


def test_without_its_strokes_an_answer_falls(scribbled):
    for answered in (False, True):
        layer = scribbled.begin()
        assert not answered or scribbled.worker.answer()
        scribbled.viewer.layers.remove(scribbled.widget.strokes_layer)
        scribbled.worker.answer()
        assert scribbled.answered(layer) == []
        assert scribbled.told == ""
        assert "strokes” was removed" in scribbled.state.text()


def test_other_strokes_make_what_is_said_of_them_untrue(scribbled):
    layer = scribbled.begin()
    scribbled.worker.answer()
    assert "100%" in scribbled.told
    strokes = scribbled.widget.strokes_layer
    strokes.data_setitem((np.array([50]), np.array([5])), 1)
    scribbled.widget._strokes_changed()
    assert (scribbled.told, scribbled.state.text()) == ("", "The strokes have changed: press Segment.")
    strokes.undo()
    scribbled.widget._strokes_changed()
    assert scribbled.told == "", "what is shown is told again when it is asked again"
    scribbled.widget.segment()
    strokes.data[:] = 0
    scribbled.widget.segment()
    scribbled.worker.answer()
    assert scribbled.answered(layer) == [], "of no strokes nothing is shown, not even what was asked before"


@pytest.fixture
def segmented(qtbot, play):
    played = play("Segment", ViewerModel())
    qtbot.addWidget(played.widget)
    layer = played.begin()
    played.worker.answer()
    return played, layer, played.widget.desk.labels.layer


def test_labels_that_a_person_corrected_stay_when_their_picture_goes(segmented):
    played, layer, labels = segmented
    labels.data[:5, :5] = 2
    played.viewer.layers.remove(layer)
    assert labels.visible
    assert labels.name == "tile · labels (corrected)"
    assert played.widget.desk.labels.layer is labels, "they can be exported"
    assert played.state.text() == ""


def test_measurements_of_other_labels_are_not_shown(segmented):
    played, _, labels = segmented
    played.widget.desk.measure(labels)
    first = played.worker.asked[f"measure {labels.unique_id}"][0].label_map.labels
    labels.data[:5, :5] = 3
    played.worker.answer()
    again = played.worker.asked[f"measure {labels.unique_id}"][0].label_map.labels
    assert (again != first).any(), "asked again of the labels as they are"


def test_a_table_of_labels_that_were_painted_over_is_not_saved(segmented):
    played, _, labels = segmented
    table = played.widget.desk.table
    table.save_button.setEnabled(True)
    labels.data_setitem((np.array([1]), np.array([1])), 2)
    assert not table.save_button.isEnabled()
    assert "have changed" in table.count.text()


def test_replacing_a_correction_replaces_the_one_that_was_to_be_saved(segmented, monkeypatch):
    played, _, labels = segmented
    desk = played.widget.desk
    monkeypatch.setattr(label_panel, "ask_overwrite", lambda *_: True)
    desk.save_corrections()
    first, _, on_error = played.worker.asked.pop("save")
    other = played.viewer.add_labels(np.zeros((8, 8), np.int32), name="other")
    desk.labels.choose(other)
    on_error(WorkerError(ErrorCode.ALREADY_SAVED, "there is one"))
    again, *_ = played.worker.asked.pop("save")
    assert (first.replace, again.replace) == (False, True)
    assert (again.name, again.folder) == (first.name, first.folder)
    np.testing.assert_array_equal(again.label_map.labels, labels.data)


def test_what_a_reader_warns_of_is_shown_below_what_was_opened(segmented, tmp_path):
    played, *_ = segmented
    played.widget.desk.exporting.open(tmp_path / "a.geojson")
    _, on_result, _ = played.worker.asked.pop("open")
    on_result(ImportResult(LabelMap(LABELS, make_classes(["one", "two"], 1)), ("skipped 2 Points: they enclose no area",)))
    assert played.widget.desk.export.state.text() == "Opened a.geojson.\nSkipped 2 Points: they enclose no area"


def test_opened_labels_lie_on_the_picture_they_were_opened_for(segmented, tmp_path):
    played, layer, _ = segmented
    other = played.viewer.add_image(RGB, translate=(4000, 0))
    played.widget.desk.exporting.open(tmp_path / "a.geojson")
    played.image.choose(other)
    request, on_result, _ = played.worker.asked.pop("open")
    assert request == ImportRequest(tmp_path / "a.geojson")
    on_result(ImportResult(LabelMap(LABELS, make_classes(["one", "two"], 1))))
    opened = played.widget.desk.labels.layer
    np.testing.assert_allclose(opened.data_to_world((0, 0)), layer.data_to_world((0, 0)))


@pytest.mark.parametrize("title", DOCKS)
def test_in_a_real_window(viewer, dock, play, title):
    played = play(title, viewer)
    dock(viewer, played.widget)
    for event in ("moved", "painted in place"):
        layer = played.begin()
        FALLS[event](played, layer)
        played.settle()
        played.worker.answer()
        assert played.answered(layer) == [], event
        played.ask()
        played.worker.answer()
        assert played.answered(layer)
    viewer.layers.remove(layer)
    QApplication.processEvents()
    assert played.answered(layer) == []
    layer = played.begin()
    (submitted,) = played.worker.asked.values()
    viewer.close()
    QApplication.processEvents()
    submitted[1](RESULTS[type(submitted[0])](submitted[0]))
