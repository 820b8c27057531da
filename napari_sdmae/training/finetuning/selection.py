"""Which epoch of a fine-tuning run is kept: the best on the validation images. The test images are looked at once, at the end."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

from napari_sdmae.config.finetune import FinetuneConfig, Part, Task
from napari_sdmae.config.head import HeadSpec
from napari_sdmae.data.labelled.labelled_set import LabelledSet, count_groups
from napari_sdmae.devices.precision import autocast
from napari_sdmae.humanize import several
from napari_sdmae.io.atomic import write_atomically
from napari_sdmae.io.checkpoints.head_folder import load_head, save_head
from napari_sdmae.io.model_info.head import read_head_spec
from napari_sdmae.metrics import selecting_metric
from napari_sdmae.models.heads.head_model import HeadModel
from napari_sdmae.runs.describe import in_words
from napari_sdmae.runs.events import EndState, Event, Validated
from napari_sdmae.runs.folder import Request, RunFolder
from napari_sdmae.training.finetuning.calibration import choose_temperature
from napari_sdmae.training.finetuning.evaluate import Evaluation, Report
from napari_sdmae.training.finetuning.thresholds import choose_thresholds
from napari_sdmae.training.loop.checkpoints import TrainingState
from napari_sdmae.training.loop.engine import SteppingEngine
from napari_sdmae.training.loop.model_selection import StopPoll

UNSELECTED = "there are no validation images: the head of the last epoch is kept, without a selection"
NOT_TESTED = "stopped before the end, and not evaluated on the test images: run sdmae evaluate RUN --data DATA --part test"
SETTLED: dict[Task, str] = {"instances": "thresholds", "classification": "temperature"}
"""What is chosen on the validation images after the last epoch, by task."""


@dataclass
class BestOnValidation:
    """Measures the head on the validation images, keeps its best epoch, and reports on the test images.

    Of equal epochs the later one counts: it was trained longer, at a lower rate.
    """

    engine: SteppingEngine[FinetuneConfig, HeadModel]
    labelled: LabelledSet
    folder: RunFolder
    warnings: list[str]
    _latest: Report | None = field(init=False, default=None)

    @property
    def by(self) -> str:
        """The metric that selects, with its part; empty if there are no validation images."""
        spec = self.engine.model.spec
        return f"validation/{selecting_metric(spec.task, len(spec.classes))}" if self.labelled.part("validation") else ""

    def evaluate(self, epoch: int, asked: StopPoll) -> Generator[Event, None, dict[str, float] | None]:
        """Measure on the validation images when it is due; return None if a request came meanwhile."""
        yield from ()
        self._latest = None
        due = epoch % self.engine.config.validate_every == 0 or epoch == self.engine.schedule.epochs
        if not self.by or not due:
            return {}
        self._latest, request = self._evaluated(self.engine.model, "validation", asked)
        return None if request else {f"validation/{name}": value for name, value in self._latest["metrics"].items()}

    def select(self, epoch: int, metrics: dict[str, float], state: TrainingState, *, saved: bool) -> Iterator[Event]:
        """Remember the epoch if none before was better."""
        if self._latest is None:
            return
        value = metrics.get(self.by)
        chosen = value is not None and (state.best_value is None or value >= state.best_value)
        if chosen:
            state.best_value, state.best_step, state.best_report = value, state.step, self._latest
        measured = {name: value for name, value in metrics.items() if name.startswith("validation/")}
        yield Validated(epoch, state.step, measured, chosen, self.by)

    def choose_again(self, state: TrainingState, asked: StopPoll) -> Request | None:
        """Take the model as it is for the best, where the best was lost; return a request that came meanwhile."""
        report, request = self._evaluated(self.engine.model, "validation", asked)
        if request is None:
            value = report["metrics"].get(self.by.removeprefix("validation/"))
            state.best_step, state.best_value, state.best_report = state.step, value, report
        return request

    def published_step(self, state: TrainingState) -> int | None:
        """Show the best epoch, as soon as there is one."""
        return state.best_step

    def finish(self, state: TrainingState, ending: EndState, asked: StopPoll) -> Generator[Event, None, Request | None]:
        """Write the report: after the last step with the test images, and into the head as well; when stopped without."""
        yield from ()
        if ending == "finished":
            report = self._finished_report(state)
            if report is None:
                request = self._settle(state, asked) if self._settled else None
                test, request = self._test(asked) if request is None else (None, request)
                if request is not None:
                    return request
                report = self._write(state, test, finished=True)
            self._stamp(report)
        elif ending == "stopped":
            self._write(state, None, finished=False)
        return None

    def summary(self) -> str:
        """Return the result in a few words, from the report."""
        report = self.folder.read_report()
        part = report["reported_on"]
        if part is None:
            return UNSELECTED
        name = selecting_metric(self.engine.config.task, len(report["classes"]))
        value = report[part].get(name)
        measured = "nothing could be measured" if value is None else f"{in_words(name)} {value:.4f}"
        images = several(report["images"][part], f"{part} image", f"{part} images")
        return f"{measured} on {images}, with epoch {report['selected']['epoch']:g}"

    @property
    def _settled(self) -> str | None:
        """What of the head is chosen on the validation images after the last epoch: a field of its specification."""
        return SETTLED.get(self.labelled.task) if self.by else None

    def _settle(self, state: TrainingState, asked: StopPoll) -> Request | None:
        """Choose what the selected head lacks on the validation images, and measure it once more with that."""
        assert self._settled is not None
        model = load_head(self.folder.model, self.engine.world.device)
        context = autocast(self.engine.world.device, self.engine.precision)
        choose = choose_thresholds if self._settled == "thresholds" else choose_temperature
        search = choose(model, self.labelled.part("validation"), self.labelled, self.engine.config, context)
        while True:
            try:
                next(search)
            except StopIteration as end:
                model.spec = model.spec.model_copy(update={self._settled: end.value})
                break
            if (request := asked()) is not None:
                return request
        report, request = self._evaluated(model, "validation", asked)
        if request is None:
            state.best_report = report
            save_head(self.folder.model, model)
        return request

    def _test(self, asked: StopPoll) -> tuple[Report | None, Request | None]:
        """Measure the selected head on the test images, if there are any."""
        if not self.labelled.part("test"):
            return None, None
        return self._evaluated(load_head(self.folder.model, self.engine.world.device), "test", asked)

    def _evaluated(self, model: HeadModel, part: Part, asked: StopPoll) -> tuple[Report, Request | None]:
        """Measure image by image; a request breaks off."""
        context = autocast(self.engine.world.device, self.engine.precision)
        evaluation = Evaluation(model, self.labelled.part(part), self.labelled, self.engine.config, context)
        request = None
        for _ in evaluation.run():
            if (request := asked()) is not None:
                break
        return evaluation.report() if request is None else {}, request

    def _finished_report(self, state: TrainingState) -> Report | None:
        """Return the report of a run that had finished before, if its head is still chosen: the test is not looked at again."""
        try:
            report: Report = self.folder.read_report()
        except (OSError, ValueError):
            return None
        same = report.get("step") == state.step and report.get("selected", {}).get("step") == self._chosen(state)
        return report if report.get("finished") and same else None

    def _chosen(self, state: TrainingState) -> int:
        """Return the step of the head that is kept."""
        return state.best_step or self.folder.last_saved_step()

    def _write(self, state: TrainingState, test: Report | None, *, finished: bool) -> Report:
        """Write report.json and return its content."""
        chosen = self._chosen(state)
        epoch = float(self.engine.schedule.epoch(chosen))
        untested = [NOT_TESTED] if self.labelled.part("test") and not finished else []
        parts = {"validation": state.best_report, "test": test}
        reported_on = next((part for part in ("test", "validation") if parts[part]), None)
        published_step = parts[reported_on] if reported_on else None
        report: dict[str, Any] = {
            "task": self.labelled.task,
            "finished": finished,
            "step": state.step,
            "selected": {
                "epoch": int(epoch) if epoch.is_integer() else epoch,
                "step": chosen,
                "by": self.by or None,
                "value": state.best_value,
            },
            "validation": state.best_report and state.best_report["metrics"],
            "test": test and test["metrics"],
            "images": {part: len(self.labelled.part(part)) for part in ("train", "validation", "test")},
            "groups": {part: count_groups(self.labelled.part(part)) for part in ("train", "validation", "test")},
            "classes": [one.model_dump() for one in self.labelled.classes],
            "reported_on": reported_on,
            **self._chosen_settings(finished),
            "confusion": published_step and published_step["confusion"],
            "per_class": published_step["per_class"] if published_step else {},
            "parts": parts,
            "warnings": [*self.warnings, *([] if self.by else [UNSELECTED]), *untested],
            "data": self.labelled.fingerprint,
            "date": time.strftime("%Y-%m-%d"),
        }
        write_atomically(self.folder.report, json.dumps(report, indent=1, ensure_ascii=False).encode())
        return report

    def _chosen_settings(self, finished: bool) -> dict[str, Any]:
        """Return what was chosen for a finished head after its last epoch, by its name."""
        if self._settled is None or not finished:
            return {}
        return {self._settled: read_head_spec(self.folder.path).model_dump(mode="json")[self._settled]}

    def _stamp(self, report: Report) -> None:
        """Write into the finished head how good it is, and its thresholds once more: a resumed run publishes it anew."""
        model = load_head(self.folder.model)
        metrics = {"validation": report["validation"], "test": report["test"], "selected_by": report["selected"]["by"]}
        provenance = model.spec.provenance | {"date": report["date"], "epoch": report["selected"]["epoch"]}
        changes: dict[str, Any] = {"metrics": metrics, "provenance": provenance}
        if self._settled in report:
            changes[self._settled] = report[self._settled]
        model.spec = HeadSpec.model_validate(model.spec.model_dump() | changes)
        save_head(self.folder.model, model)
