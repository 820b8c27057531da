"""``sdmae ablate``: pre-train and evaluate over a grid of settings; table and plot."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sdmae.cli.common.parser import exit_status, refuse
from napari_sdmae.config.ablation import TEACHERS, AblationConfig
from napari_sdmae.runs.describe import describe
from napari_sdmae.runs.events import Ended, EpochFinished, Started, Validated, Warned
from napari_sdmae.text.errors import error_line

if TYPE_CHECKING:
    from napari_sdmae.training.ablation.run import AblationEnded, RunEvent

PROG = "sdmae ablate"
DESCRIPTION = f"""Repeat pre-training and the evaluation of a head over a grid of settings, with several seeds.

The YAML file says what is compared:

  data: slides/                      images to pre-train on
  pretrain: {{preset: vit-small}}      settings of pre-training that all cells share
  grid:                              all combinations are trained
    mask_ratio: [0.5, 0.6, 0.75]     any setting of pre-training, nested ones with a dot
    loss.p: [0, 0.2]
    teacher: [none, paper]           several settings at once: {", ".join(TEACHERS)}
  seeds: [0, 1, 2]
  scratch: true                      also the same head without pre-training
  evaluate: {{preset: tissue-classes, data: tiles/}}      settings of fine-tuning or of the linear probe

Started again with the same output it goes on: finished cells are kept, interrupted runs resumed.
"""
SHOWN = (Started, EpochFinished, Validated, Warned, Ended)


def main(argv: list[str]) -> int:
    """Run ``sdmae ablate``; return the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        config = AblationConfig.from_yaml(arguments.config)
    except (ValueError, OSError) as error:
        return refuse(PROG, error_line(error))
    if arguments.list:
        print("\n".join(cell.name for cell in config.cells()))
        print(f"{len(config.cells())} cells × {len(config.seeds)} seeds", file=sys.stderr)
        return 0
    if arguments.output is None:
        return refuse(PROG, "--output DIR is missing: name a folder for the ablation")
    return _run(config, arguments.output, arguments.config)


def _run(config: AblationConfig, output: Path, source: Path) -> int:
    """Run the ablation in the foreground; a signal pauses it."""
    from napari_sdmae.cli.common.job import STOPPED_BY_SIGNAL
    from napari_sdmae.cli.common.signals import Signals

    signals, started = Signals(), False
    with signals.caught():
        from napari_sdmae.training.ablation.run import SETTINGS, AblationEnded, ablate, settings_text

        kept = output / SETTINGS
        if kept.exists() and kept.samefile(source) and source.read_text(encoding="utf-8") != settings_text(config):
            return refuse(PROG, f"--config {source} lies where the ablation keeps its own copy: give another --output")
        try:
            for event in _shown(ablate(config, output, stop=lambda: signals.request), output):
                started = started or not isinstance(event, AblationEnded)
        except Exception as error:
            print(f"{PROG}: {error_line(error)}", file=sys.stderr)
            return exit_status(error, started)
    return STOPPED_BY_SIGNAL if signals.request is not None else 0


def _shown(events: Iterator[RunEvent | AblationEnded], output: Path) -> Iterator[RunEvent | AblationEnded]:
    """Print each event that matters over hours on one line of stderr, and the table at the end on stdout."""
    from napari_sdmae.training.ablation.run import AblationEnded

    for event in events:
        if isinstance(event, AblationEnded):
            if event.results:
                print((output / "results.md").read_text(encoding="utf-8"), flush=True)
            print(event.message if event.finished else f"paused, start it again to go on; {event.message}", file=sys.stderr)
        elif isinstance(event.event, SHOWN):
            place = f"[{event.number}/{event.total}] {event.cell.name}, seed {event.seed}, {event.stage}"
            print(f"{place}: {describe(event.event)}", file=sys.stderr, flush=True)
        yield event


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROG, description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--config", metavar="FILE", type=Path, required=True, help="YAML file, see above")
    parser.add_argument("--output", metavar="DIR", type=Path, help="folder of the ablation, new or to go on with")
    parser.add_argument("--list", action="store_true", help="only list the cells")
    return parser
