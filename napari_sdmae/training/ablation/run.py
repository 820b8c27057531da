"""Ablation: pre-train and evaluate each combination of a grid with each seed, and put the results side by side.

    OUTPUT/ablation.yaml            what was asked for
    OUTPUT/CELL/seed-N/pretrain     a run folder of pre-training
    OUTPUT/CELL/seed-N/head         a run folder of fine-tuning, with its report
    OUTPUT/results.csv              one line for each finished cell and seed
    OUTPUT/results.md, .png, .svg   mean ± standard error over the seeds, and differences to the first cell

Started again in the same folder it goes on: finished runs are kept, interrupted ones resumed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from napari_sdmae.config.ablation import AblationConfig, Cell
from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.io.atomic import clear_leftovers, make_folder, write_atomically
from napari_sdmae.runs.events import Ended, Event
from napari_sdmae.runs.folder import Request, RunConfig, RunFolder, RunFolderError
from napari_sdmae.training.ablation.plot import draw_results
from napari_sdmae.training.ablation.table import Result, read_result, write_tables
from napari_sdmae.training.finetuning.finetune import finetune
from napari_sdmae.training.loop.model_selection import StopPoll
from napari_sdmae.training.pretraining.pretrain import check_model, pretrain

SETTINGS = "ablation.yaml"
Stage = Literal["pretrain", "head"]


@dataclass(frozen=True)
class RunEvent:
    """Something happened in one of the runs: `number` of `total`, counting from 1."""

    cell: Cell
    seed: int
    stage: Stage
    number: int
    total: int
    event: Event


@dataclass(frozen=True)
class AblationEnded:
    """The last event: all is done (`finished`), or a request came; `results` are those of the finished runs."""

    finished: bool
    results: list[Result]
    message: str


def ablate(config: AblationConfig, output: Path, stop: StopPoll | None = None) -> Iterator[RunEvent | AblationEnded]:
    """Run all cells of a grid, seed by seed, and write the table after each.

    Parameters
    ----------
    config
        Grid, seeds, pre-training and evaluation.
    output
        Folder of the ablation: new, or one to go on with. Cells may have been added to the grid since.
    stop
        Asked once per step; any request pauses the run that is under way and ends the ablation.

    Yields
    ------
    RunEvent
        What the runs tell.
    AblationEnded
        The last.

    Raises
    ------
    RunFolderError
        If a run in the folder was made with other settings.
    DataError, ValueError
        As pre-training and fine-tuning do.
    """
    runs = list(_runs(config, output))
    _check(config, runs, output)
    make_folder(output)
    write_atomically(output / SETTINGS, settings_text(config).encode())
    finished = True
    for number, (cell, seed, stage, folder, settings) in enumerate(runs, 1):
        ending: Ended | None = None
        for event in _run(settings, folder, _pausing(stop)):
            ending = event if isinstance(event, Ended) else ending
            yield RunEvent(cell, seed, stage, number, len(runs), event)
        if ending is not None and ending.state != "finished":
            finished = False
            break
        if stage == "head":
            write_tables(read_results(config, output), output)
    results = read_results(config, output)
    yield AblationEnded(finished, results, _close(results, output))


def settings_text(config: AblationConfig) -> str:
    """Return what :data:`SETTINGS` holds."""
    text: str = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    return text


def read_results(config: AblationConfig, output: Path) -> list[Result]:
    """Return what the finished evaluations in the folder say, in the order of the grid and seeds."""
    found = []
    for cell, seed, stage, folder, _ in _runs(config, output):
        status = folder.status() if stage == "head" else None
        if status is not None and status.state == "finished":
            found.append(read_result(cell, seed, folder))
    return found


def _close(results: list[Result], output: Path) -> str:
    """Write table and plot; return what was written."""
    if not results:
        return "no run is finished yet"
    write_tables(results, output)
    drawn = draw_results(results, output)
    return f"table: {output / 'results.md'}; {drawn}"


def _runs(config: AblationConfig, output: Path) -> Iterator[tuple[Cell, int, Stage, RunFolder, RunConfig]]:
    """Yield all runs: of each seed all cells, so that the first seed is comparable as early as possible."""
    output = output.expanduser().absolute()
    for seed in config.seeds:
        for cell in config.cells():
            place = output / cell.folder / f"seed-{seed}"
            if not cell.scratch:
                yield cell, seed, "pretrain", RunFolder(place / "pretrain"), config.pretrain_config(cell, seed)
            yield cell, seed, "head", RunFolder(place / "head"), config.head_config(cell, seed, place / "pretrain")


def _check(config: AblationConfig, runs: list[tuple[Cell, int, Stage, RunFolder, RunConfig]], output: Path) -> None:
    """Refuse what cannot work before anything is trained."""
    clear_leftovers(output)
    if output.is_dir() and not (output / SETTINGS).is_file() and any(output.iterdir()):
        raise RunFolderError(f"{output} is not empty and holds no ablation; choose another --output")
    for cell in config.cells():
        check_model(config.pretrain_config(cell, config.seeds[0]))
    for _, _, _, folder, settings in runs:
        if folder.exists() and folder.read_config() != settings:
            raise RunFolderError(
                f"{folder.path} was made with other settings; use those of {output / SETTINGS}, or choose another --output"
            )


def _run(settings: RunConfig, folder: RunFolder, stop: StopPoll) -> Iterator[Event]:
    """Train in `folder`, from the beginning or from where it was interrupted; nothing if it is finished."""
    status = folder.status()
    if status is not None and status.state == "finished":
        return
    resume = folder.exists()
    if isinstance(settings, FinetuneConfig):
        yield from finetune(settings, run=folder.path, stop=stop, resume=resume)
    else:
        yield from pretrain(settings, run=folder.path, stop=stop, resume=resume)


def _pausing(stop: StopPoll | None) -> Callable[[], Request | None]:
    """Return `stop` with any request turned into a pause: a run that is half done is of no use but to go on with."""
    return lambda: "pause" if stop is not None and stop() else None
