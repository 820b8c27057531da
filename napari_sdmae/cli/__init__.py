"""The command line: ``sdmae COMMAND …``. Each command lives in its own module, imported when it is asked for."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import NamedTuple

from napari_sdmae import __version__
from napari_sdmae.cli.common.streams import steady_output


class Command(NamedTuple):
    """Where a command is implemented, and what it does in a few words."""

    module: str
    help: str
    function: str = "main"


COMMANDS = {
    "pretrain": Command("pretrain", "pre-train an SD-MAE on a folder of tissue images"),
    "resume": Command("runs", "go on with a run that was paused, stopped or killed", "resume"),
    "stop": Command("runs", "end a run after this step and keep its model", "stop"),
    "pause": Command("runs", "end a run after this step, to go on later", "pause"),
    "cancel": Command("runs", "end a run now, without saving", "cancel"),
    "runs": Command("runs", "list the runs in a folder", "runs"),
    "inspect": Command("inspect", "look through a folder of images before training, or read the card of a model"),
    "reconstruct": Command("reconstruct", "hide patches of an image and let a model fill them in"),
    "attention": Command("attention", "write attention maps of an image"),
    "finetune": Command("finetune", "train a head: segmentation, nuclei, classification or detection"),
    "evaluate": Command("evaluate", "measure a head on labelled images"),
    "predict": Command("predict", "apply a head to images: labels, overlays, tables"),
    "embed": Command("embed", "write the features of images, with coordinates, as npz or parquet"),
    "export": Command("export", "convert labels: GeoJSON for QuPath, OME-TIFF, OME-Zarr, PNG, COCO, CSV"),
    "unpack": Command("unpack", "unpack PatchCamelyon as published to a folder of images"),
    "ablate": Command("ablate", "repeat pre-training and a head over a grid of settings: table and plot"),
    "convert": Command("convert", "convert checkpoints: the authors', MAE, timm, and back to timm"),
    "export-head": Command("export_head", "write a head for another program: WSInfer, ONNX"),
    "demo": Command("demo", "run the whole main job on the shipped tissue"),
    "doctor": Command("doctor", "report what this machine can do"),
}


def usage() -> str:
    """Return the help text."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.help}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            f"sdmae {__version__}: self-distillation augmented masked autoencoders for histology",
            "",
            "usage: sdmae COMMAND [OPTIONS]        sdmae COMMAND --help",
            "",
            *lines,
            "",
            "exit status: 0 done, 1 failed, 2 bad usage or settings, 3 unusable data, 143 stopped by a signal after saving",
        ]
    )


def main(argv: list[str] | None = None) -> int:
    """Run the command line `argv` (default: the process's own); return the exit status."""
    with steady_output() as output:
        status = _main(sys.argv[1:] if argv is None else argv)
        output.flush()
        if output.lost is None:
            return status
        if not isinstance(output.lost, BrokenPipeError):  # that one, such as head, has enough
            print(f"sdmae: not all that was printed could be written ({output.lost.strerror or output.lost})", file=sys.stderr)
        return status or 1


def _main(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if arguments else 2
    name, *rest = arguments
    if name in ("-V", "--version"):
        print(__version__)
        return 0
    if name not in COMMANDS:
        print(f"sdmae: no command {name!r}; there are: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    command = COMMANDS[name]
    function = getattr(import_module(f"napari_sdmae.cli.{command.module}"), command.function)
    try:
        return int(function(rest))
    except KeyboardInterrupt:
        return 130
    except (
        OSError,
        MemoryError,
    ) as error:  # a file gone, closed to this user or on a full disk, wherever it was met
        from napari_sdmae.text.errors import error_line

        print(f"sdmae {name}: {error_line(error)}", file=sys.stderr)
        return 1
