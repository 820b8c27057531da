"""Which arithmetic is chosen, and why."""

import pytest
import torch

from napari_sdmae.devices import precision as precision_module
from napari_sdmae.devices.precision import answering_gain, gain_of_bf16, select_precision, training_gain

CPU = torch.device("cpu")


def test_precision_is_chosen_by_a_probe_and_says_why(monkeypatch):
    assert select_precision("fp32", CPU, training=True).precision == "fp32"
    for gain, chosen in ((0.9, "fp32"), (2.0, "bf16")):
        monkeypatch.setattr("napari_sdmae.devices.precision.training_gain", lambda kind, gain=gain: gain)
        precision, reason = select_precision("auto", CPU, training=True)
        assert precision == chosen
        assert f"{gain:.2f}" in reason


def test_a_slow_moment_does_not_decide_the_precision(monkeypatch):
    """Another job slows the machine down while the probe runs: the fastest of several turns of each counts."""
    pauses = {"fp32": iter([0.5, 0.2, 0.3, 0.2, 0.3]), "bf16": iter([0.1, 0.4, 0.1, 0.4, 0.1])}
    clock = [0.0]
    monkeypatch.setattr("napari_sdmae.devices.precision.time.perf_counter", lambda: clock[0])
    gain = gain_of_bf16(lambda precision: clock.__setitem__(0, clock[0] + next(pauses[precision])), seconds=0.0)
    assert gain == pytest.approx(2)


def test_a_hopeless_probe_ends_early(monkeypatch):
    """On a CPU without bf16 units a step takes fifteen times as long, and every start would wait for eight of them."""
    steps, clock = [], [0.0]

    def step(precision):
        steps.append(precision)
        clock[0] += 0.1 if precision == "fp32" else 1.5

    monkeypatch.setattr("napari_sdmae.devices.precision.time.perf_counter", lambda: clock[0])
    assert gain_of_bf16(step, seconds=60.0) == pytest.approx(0.1 / 1.5)
    assert steps == ["fp32", "bf16"] * 2


def test_the_probe_times_both_arithmetics(monkeypatch):
    steps: list[str] = []
    monkeypatch.setattr("napari_sdmae.devices.precision.HOPELESS", 0.0)  # steps that do nothing take no time
    monkeypatch.setattr("napari_sdmae.devices.precision._train", lambda model, images, precision: steps.append(precision))
    assert training_gain.__wrapped__("cpu", seconds=0.0) > 0
    assert steps[:4] == ["fp32", "bf16", "fp32", "bf16"], "in turns"
    assert steps.count("fp32") == steps.count("bf16") > 3


@pytest.mark.parametrize("probe", [training_gain, answering_gain])
def test_the_steps_of_the_probes_run_in_both_arithmetics(monkeypatch, probe):
    def computed(step, seconds):
        for precision in ("fp32", "bf16"):
            step(precision)
        return 1.5

    def recorded(device, precision):
        used.append(precision)
        return autocast(device, precision)

    used, autocast = [], precision_module.autocast
    monkeypatch.setattr(precision_module, "autocast", recorded)
    monkeypatch.setattr(precision_module, "gain_of_bf16", computed)
    assert probe.__wrapped__("cpu") == 1.5
    assert used == ["fp32", "bf16"]


def test_bf16_where_it_does_not_work_is_refused(monkeypatch):
    monkeypatch.setattr("napari_sdmae.devices.precision.works_in_bf16", lambda device: False)
    with pytest.raises(ValueError, match="choose fp32"):
        select_precision("bf16", CPU, training=True)
    assert select_precision("auto", CPU, training=True).precision == "fp32"
