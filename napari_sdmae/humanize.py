"""Numbers, times, sizes and sentences as people write them: each rule once."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable

UNITS = ("bytes", "kB", "MB", "GB", "TB")


def duration(seconds: float) -> str:
    """Return `seconds` as "40 s", "4 min 10 s", "2 h 5 min" or "3 d 4 h"."""
    total = max(0, round(seconds))
    for size, unit, smaller, small_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if total >= size:
            rest = total % size // smaller
            return f"{total // size} {unit}" + (f" {rest} {small_unit}" if rest else "")
    return f"{total} s"


def size(count: float) -> str:
    """Return a number of bytes as "12 bytes", "640 MB" or "1.2 GB": with powers of ten, as disks and systems are labelled."""
    power = next(power for power in range(len(UNITS)) if round(count / 1000**power) < 1000 or power == len(UNITS) - 1)
    number = count / 1000**power
    digits = 1 if power and round(number, 1) < 10 else 0
    return f"{number:.{digits}f} {UNITS[power]}"


def count(number: float) -> str:
    """Return a count as "640", "12,300" or "1.20 M"."""
    return f"{number / 1e6:.2f} M" if round(number) >= 1e6 else f"{number:,.0f}"


def sentence(line: str) -> str:
    """Return `line` beginning with a capital letter, unless it begins with the name of a file, a setting or a term (k-NN)."""
    return line[:1].upper() + line[1:] if re.match(r"[a-z’'-]+[,:;.]?(\s|$)", line) else line


def plain(name: str) -> str:
    """Return the name of a number or a setting without underscores."""
    return name.replace("_", " ")


def slug(name: str, otherwise: str) -> str:
    """Return a file name of letters that every system takes: `name` with a dash for each run of others, or `otherwise`."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or otherwise


def different(names: Iterable[str]) -> list[str]:
    """Return `names`, each with a number behind it if it came before."""
    found: list[str] = []
    for name in names:
        numbered = (name if number == 1 else f"{name}-{number}" for number in itertools.count(1))
        found.append(next(one for one in numbered if one not in found))
    return found


def several(number: int, one: str, more: str) -> str:
    """Return `number` with the word for `one` thing, or for `more`."""
    return f"{number:,} {one if number == 1 else more}"
