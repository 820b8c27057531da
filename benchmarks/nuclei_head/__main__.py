"""The head for nuclei that comes with the package, made anew: ``python benchmarks/nuclei_head DATA OUTPUT``.

Trained on what may ship and on nothing else: 28 images outlined by hand (CC0), one whose outlines are a model's (BSD), and
tissue under the MIT licence that nobody outlined. That tissue is first outlined by stain and watershed, which a head learns;
then that head outlines it anew, and the next one learns from these. A head averages out what its teacher did at random.

Each stage is skipped where its results are there, and a training that was killed goes on, so that the command can be started
again and again. MoNuSeg under DATA is measured, never trained on; neither are thresholds chosen on it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

from check import check
from classical import outline_by_stain
from collect import collect_hand, collect_tissue
from relabel import outline_by_head
from ship import ship
from train import Round, train

ROUNDS = (Round("first", 20), Round("second", 32), Round("third", 30))


def main() -> int:
    """Run all stages; return the exit status."""
    parser = argparse.ArgumentParser(prog="nuclei_head", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with tissue_tiles, slides and nuclei_monuseg")
    parser.add_argument("output", type=Path, help="folder of this campaign: images, labels, runs, tables")
    parser.add_argument("--model", default="tissue-vit-tiny", help="encoder to begin with (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=len(ROUNDS), help="heads, each taught by the one before it")
    parser.add_argument("--ship", type=Path, help="also write the last head here, with 16-bit weights")
    arguments = parser.parse_args()
    output: Path = arguments.output
    hand = collect_hand(output / "hand")
    tissue = collect_tissue(arguments.data, output / "tissue")
    teacher = outline_by_stain(tissue, output / "stain")
    head, tables = None, {}
    for this in ROUNDS[: arguments.rounds]:
        head = train(this, output / f"run-{this.name}", hand, tissue, teacher, arguments.model if head is None else str(head))
        tables[this.name] = check(head, arguments.data / "nuclei_monuseg", output / f"check-{this.name}.json")
        print(json.dumps({this.name: tables[this.name]["mean"]}), flush=True)
        if this is not ROUNDS[arguments.rounds - 1]:
            teacher = outline_by_head(head, tissue, output / f"outlined-{this.name}")
    if arguments.ship and head is not None:
        shutil.copytree(ship(head, tables, output / "shipped"), arguments.ship, dirs_exist_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
