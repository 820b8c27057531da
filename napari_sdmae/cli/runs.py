"""``sdmae resume | stop | pause | cancel RUN`` and ``sdmae runs DIR``."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from napari_sdmae.cli.common.parser import refuse
from napari_sdmae.runs.describe import in_words
from napari_sdmae.runs.folder import Request, RunFolder, RunStatus, is_alive
from napari_sdmae.runs.ownership.authorship import is_copy, lives
from napari_sdmae.runs.run_list import find_runs
from napari_sdmae.text.errors import error_line
from napari_sdmae.text.printable import printable

COLUMNS = ("name", "state", "epoch", "loss", "started", "host")


def resume(argv: list[str]) -> int:
    """Go on with a run, exactly as if it had never ended."""
    parser = _run_parser("resume", "go on with a run that was paused, stopped or killed, exactly where it was")
    parser.add_argument(
        "--take-over",
        action="store_true",
        help="resume even if its job, on another machine, may still be running; that job then stops without saving",
    )
    arguments = parser.parse_args(argv)
    run = RunFolder(arguments.run)
    try:
        config = run.read_config()
    except (ValueError, OSError) as error:
        return refuse("sdmae resume", error_line(error))
    from napari_sdmae.cli.common.job import run_job

    return run_job(config, run.path, resume=True, take_over=arguments.take_over)


def stop(argv: list[str]) -> int:
    """Ask a job to end after this step and keep its model."""
    return _ask("stop", "end a run after the step under way: it saves, leaves a usable model, and can be resumed", argv)


def pause(argv: list[str]) -> int:
    """Ask a job to save and free the device."""
    return _ask("pause", "end a run after the step under way: it saves and frees the device, to be resumed later", argv)


def cancel(argv: list[str]) -> int:
    """Ask a job to end without saving."""
    return _ask("cancel", "end a run after the step under way without saving; earlier checkpoints stay", argv)


def runs(argv: list[str]) -> int:
    """List the runs of a folder as a table, or as JSON."""
    parser = argparse.ArgumentParser(prog="sdmae runs", description="List the runs in a folder.")
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args(argv)
    if not arguments.folder.is_dir():
        return refuse("sdmae runs", f"{arguments.folder} is not a folder; give the folder that holds the run folders")
    found = find_runs(arguments.folder)
    rows = [_row(run, status) for run, status in found.runs]
    print(json.dumps(rows, indent=1) if arguments.json else _table(rows))
    for row in rows:
        if row["alive"] is None and not arguments.json:
            print(
                f"{row['name']}: cannot tell from here whether it still runs; last heard {_time(row['heartbeat'])}",
                file=sys.stderr,
            )
    for path, reason in found.unreadable:
        print(f"{printable(path.name)}: cannot be read ({reason})", file=sys.stderr)
    return 1 if arguments.folder in dict(found.unreadable) else 0


def _ask(request: Request, description: str, argv: list[str]) -> int:
    """Write `request` into the control file of the run, if a job may be there to read it."""
    run = RunFolder(_run_parser(request, description).parse_args(argv).run)
    try:
        status = run.written_status()
        if status is None:
            return refuse(f"sdmae {request}", f"{run.path} is not a run folder: it has no status.json")
        if reason := _unheard(run, status):
            return refuse(f"sdmae {request}", reason)
        run.ask(request)
    except (ValueError, OSError) as error:
        return refuse(f"sdmae {request}", error_line(error))
    answer = "it takes effect after the current step"
    if is_alive(status) is None:
        answer += f", if it still lives, which cannot be told from here (last heard {status.last_heard})"
    print(f"asked process {status.pid} on {status.host} to {request}; {answer}")
    return 0


def _unheard(run: RunFolder, status: RunStatus) -> str:
    """Return why no job would hear what is asked of `run`, in words; empty where one may."""
    if not status.live:
        return f"no job is alive in {run.path}: the run is {status.state}"
    if is_alive(status) is False:
        return f"no job is alive in {run.path}: the run is interrupted"
    if lives(status) and is_copy(status, run.path):
        return f"no job works in {run.path}: it is a copy of {status.path}, where process {status.pid} on {status.host} works"
    return ""


def _run_parser(command: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"sdmae {command}", description=description)
    parser.add_argument("run", metavar="RUN", type=Path, help="the run folder")
    return parser


def _row(run: RunFolder, status: RunStatus) -> dict[str, Any]:
    """Return what is listed about a run; `alive` is None where nobody can tell."""
    where = {"path": str(run.path), "alive": is_alive(status)}  # the status has the path that its job sees
    return {"name": printable(run.path.resolve().name), **status.model_dump(mode="json"), **where}


def _table(rows: list[dict[str, Any]]) -> str:
    """Return the rows under their headings, in columns."""
    if not rows:
        return "no runs here"
    cells = [COLUMNS, *(_cells(row) for row in rows)]
    if any(row["best"] is not None for row in rows):
        cells = [(*cell[:4], best, *cell[4:]) for cell, best in zip(cells, ["best", *map(_best, rows)], strict=True)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells)


def _best(row: dict[str, Any]) -> str:
    """Return the best value on the validation images, which runs of fine-tuning have."""
    return "–" if row["best"] is None else f"{row['best']:.4f} {in_words(row['best_metric'])}"


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    """Return one row of the table as text."""
    loss = "–" if row["loss"] is None else f"{row['loss']:.4f}"
    state = row["state"] + ("?" if row["alive"] is None else "")
    return row["name"], state, f"{row['epoch']:.1f}/{row['epochs']}", loss, _time(row["started"]), row["host"]


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
