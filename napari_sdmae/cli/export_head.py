"""``sdmae export-head``: a head as files that other programs run."""

from __future__ import annotations

import argparse
from pathlib import Path

from napari_sdmae.cli.common.parser import FORESEEN, complain

PROG = "sdmae export-head"
FORMATS = ("wsinfer", "onnx")
DESCRIPTION = (
    "Write a head for another program. wsinfer: a classifier for WSInfer, which applies it to whole slides (TorchScript and "
    "config.json). onnx: a head for pixels, objects or tiles for any ONNX runtime (model.onnx and head.json, which says what "
    "goes in and what comes out; needs napari-sdmae[onnx])."
)


def main(argv: list[str]) -> int:
    """Run ``sdmae export-head``; return the exit status."""
    parser = argparse.ArgumentParser(prog=PROG, description=DESCRIPTION)
    parser.add_argument("head", metavar="HEAD", help="fine-tuning run, head folder or shipped head")
    parser.add_argument("folder", metavar="DIR", type=Path, help="folder to write: new, or empty")
    parser.add_argument("--to", choices=FORMATS, required=True, help="for which program")
    arguments = parser.parse_args(argv)
    from napari_sdmae.io.checkpoints.head_folder import load_head
    from napari_sdmae.io.other_programs.onnx import write_onnx
    from napari_sdmae.io.other_programs.wsinfer import write_wsinfer

    write = {"wsinfer": write_wsinfer, "onnx": write_onnx}[arguments.to]
    try:
        write(load_head(arguments.head), arguments.folder)
    except FORESEEN as error:
        return complain(PROG, error)
    for path in sorted(arguments.folder.iterdir()):
        print(path)
    return 0
