"""``python -m faults``: the campaign, module by module; exit status 1 if anything was lost."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

from faults.campaign import Campaign, Case, Tally
from faults.modules import MODULES
from faults.terminal import hear_signals


def main() -> int:
    """Run the campaign; return the exit status."""
    arguments = _parser().parse_args()
    hear_signals()
    names = arguments.only.split() or list(MODULES)
    folder = Path(tempfile.mkdtemp(prefix="sdmae-faults-"))
    folder.chmod(0o755)
    campaign = Campaign(folder, arguments.jobs, lambda line: print(line, flush=True))
    total, left_out = Tally(), []
    for name in names:
        module, start = import_module(f"faults.{name}"), time.monotonic()
        if reason := module.missing():
            left_out.append(f"{name}: {reason}")
            continue
        cases = module.sample(campaign.material, arguments.seed) if arguments.short else _cases(module, campaign, arguments)
        tally = campaign.run([case for case in cases if arguments.case in case.name][:: arguments.every])
        missed = f"; {tally.missed} more came too late and prove nothing" if tally.missed else ""
        print(f"{name}: {tally} ({time.monotonic() - start:.0f} s{missed})", flush=True)
        total = Tally(total.tried + tally.tried, total.missed + tally.missed, total.lost + tally.lost)
    campaign.close()
    return _report(total, left_out, arguments.seed, folder)


def _cases(module: ModuleType, campaign: Campaign, arguments: argparse.Namespace) -> Iterator[Case]:
    return iter(module.cases(campaign.material, arguments.seed, arguments.case))


def _report(total: Tally, left_out: list[str], seed: int, folder: Path) -> int:
    """Print what was lost, with the command that shows it again, what was left out, and the sum."""
    for name, reason in total.lost:
        print(f"LOST make faults ONLY={name.split('/')[0]} SEED={seed} CASE='{name}': {reason}")
    if total.lost:
        print(f"what was lost lies in {folder}")
    for reason in left_out:
        print(f"NOT TRIED {reason}")
    if not total.lost:
        shutil.rmtree(folder)
    print(total)
    return 1 if total.lost else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("--only", default="", metavar="MODULES", help=f"of {', '.join(MODULES)}; default: all")
    parser.add_argument("--case", default="", metavar="TEXT", help="only cases whose name holds this")
    parser.add_argument("--seed", type=int, default=0, help="other files, other places of the faults (default: 0)")
    parser.add_argument("--short", action="store_true", help="one case of each kind, as in make test")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only each N-th case")
    parser.add_argument("--jobs", type=int, default=2, help="cases at once (default: 2)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
