"""``sdmae resume | stop | pause | cancel RUN`` and ``sdmae runs DIR``."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from napari_sdmae.cli._arguments import explain, refuse
from napari_sdmae.training.describe import in_words
from napari_sdmae.training.run_folder import Request, RunFolder, is_alive, list_runs

COLUMNS = ("name", "state", "epoch", "loss", "started", "host")


def resume(argv: list[str]) -> int:
    """Go on with a run, exactly as if it had never ended."""
    run = _run_argument("resume", "go on with a run that was paused, stopped or killed, exactly where it was", argv)
    try:
        config = run.read_config()
    except (ValueError, OSError) as error:
        return refuse("sdmae resume", explain(error))
    from napari_sdmae.cli._job import run_job

    return run_job(config, run.path, resume=True)


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
    found = [_row(run) for run in list_runs(arguments.folder)]
    print(json.dumps(found, indent=1) if arguments.json else _table(found))
    return 0


def _ask(request: Request, description: str, argv: list[str]) -> int:
    """Write `request` into the control file of the run, if a job is there to read it."""
    run = _run_argument(request, description, argv)
    status = run.status()
    if status is None:
        return refuse(f"sdmae {request}", f"{run.path} is not a run folder: it has no status.json")
    if not is_alive(status):
        return refuse(f"sdmae {request}", f"no job is alive in {run.path}: the run is {status.state}")
    run.ask(request)
    print(f"asked process {status.pid} on {status.host} to {request}; it answers after the step under way")
    return 0


def _run_argument(command: str, description: str, argv: list[str]) -> RunFolder:
    parser = argparse.ArgumentParser(prog=f"sdmae {command}", description=description)
    parser.add_argument("run", metavar="RUN", type=Path, help="the run folder")
    return RunFolder(parser.parse_args(argv).run)


def _row(run: RunFolder) -> dict[str, Any]:
    """Return what is listed about a run."""
    status = run.status()
    assert status is not None, "list_runs returns runs with a status"
    return {"name": run.path.resolve().name, "path": str(run.path), **status.model_dump(mode="json")}


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
    started = time.strftime("%Y-%m-%d %H:%M", time.localtime(row["started"]))
    return row["name"], row["state"], f"{row['epoch']:.1f}/{row['epochs']}", loss, started, row["host"]
