"""The loss plot shows the records of metrics.jsonl, updates its artists in place, and draws seldom."""

import numpy as np
import pytest

from napari_sdmae.widgets.runs.loss_plot import MOST_POINTS, LossPlot, curves

pytestmark = pytest.mark.gui


def record(kind, step, **values):
    return {
        "kind": kind,
        "step": step,
        "epoch": step / 10,
        "total": 1 / step,
        "reconstruction": 0.5 / step,
        "distillation": 0.0 if step < 20 else 6.0,
        "mutual_information": 0.1 * step,
    } | values


@pytest.fixture
def records():
    return [record("step", step) for step in range(1, 41)] + [record("epoch", step) for step in (10, 20, 30, 40)]


@pytest.fixture
def plot(qtbot):
    plot = LossPlot()
    qtbot.addWidget(plot)
    plot.resize(360, 260)
    plot.show()
    qtbot.waitExposed(plot)
    return plot


def test_steps_and_epochs_are_told_apart(records):
    total = curves(records)["total"]
    np.testing.assert_allclose(total.steps[0], np.arange(1, 41) / 10)
    np.testing.assert_allclose(total.steps[1], 1 / np.arange(1, 41))
    np.testing.assert_allclose(total.epochs, [[1, 2, 3, 4], [0.1, 0.05, 1 / 30, 0.025]])


def test_what_a_logarithmic_axis_cannot_show_is_left_out(records):
    distillation = curves(records)["distillation"].steps[1]
    assert np.isnan(distillation[:19]).all()
    assert (distillation[19:] == 6).all()


def test_mutual_information_may_be_zero():
    assert curves([record("step", 1, mutual_information=0.0)])["mutual_information"].steps[1][0] == 0


def test_missing_values_are_gaps_and_no_records_are_no_curves():
    lacking = record("step", 1)
    del lacking["mutual_information"]
    assert np.isnan(curves([lacking])["mutual_information"].steps[1]).all()
    assert all(len(part[0]) == 0 for curve in curves([]).values() for part in (curve.steps, curve.epochs))


def test_a_long_run_is_thinned_out():
    many = [record("step", step) for step in range(1, 20 * MOST_POINTS)]
    assert MOST_POINTS / 2 <= len(curves(many)["total"].steps[0]) <= MOST_POINTS


def test_artists_are_updated_in_place_and_drawn_at_most_twice_a_second(plot, records, qtbot, monkeypatch):
    drawn = []
    monkeypatch.setattr(plot.canvas, "draw_idle", lambda: drawn.append(1))
    before = {name: tuple(map(id, lines)) for name, lines in plot.lines.items()}
    for count in range(1, len(records)):
        plot.show_records(records[:count])
    assert drawn == []
    plot.show_records(records)
    qtbot.waitUntil(lambda: len(drawn) == 1, timeout=20000)
    qtbot.wait(600)
    assert len(drawn) == 1
    assert {name: tuple(map(id, lines)) for name, lines in plot.lines.items()} == before
    np.testing.assert_allclose(plot.lines["total"][1].get_xdata(), [1, 2, 3, 4])
    assert plot.losses.get_yscale() == "log"
    assert plot.lines["mutual_information"][0].axes is plot.information is not plot.losses


def test_the_axes_grow_with_the_run(plot, records, qtbot):
    for count in (2, len(records)):
        plot.show_records(records[:count])
        qtbot.waitUntil(lambda: not plot._timer.isActive(), timeout=20000)
    (left, right), (bottom, top), (least, most) = plot.losses.get_xlim(), plot.losses.get_ylim(), plot.information.get_ylim()
    assert left == 0
    assert right >= 4
    assert bottom <= 0.5 / 40
    assert top >= 6
    assert least == 0
    assert most >= 4


def test_steps_are_faint_and_epochs_bold(plot):
    for faint, bold in plot.lines.values():
        assert faint.get_alpha() < 0.5
        assert bold.get_linewidth() > 2 * faint.get_linewidth()


def test_another_run_starts_with_empty_curves(plot, records, qtbot):
    plot.show_records(records)
    qtbot.waitUntil(lambda: len(plot.lines["total"][0].get_xdata()) == 40, timeout=20000)
    plot.show_records([])
    qtbot.waitUntil(lambda: len(plot.lines["total"][0].get_xdata()) == 0, timeout=20000)


def test_it_is_really_drawn_in_the_colours_of_the_theme(plot, records, qtbot):
    plot.set_colours("#262930", "#f0f1f2")
    plot.show_records(records)
    qtbot.waitUntil(lambda: len(plot.lines["total"][0].get_xdata()) == 40, timeout=20000)
    plot.canvas.draw()
    pixels = np.asarray(plot.canvas.buffer_rgba())[..., :3].reshape(-1, 3)
    assert (pixels[0] == (0x26, 0x29, 0x30)).all()
    orange = np.abs(pixels.astype(int) - (0xE6, 0x9F, 0x00)).sum(1) < 30
    assert orange.sum() > 50
