"""The numbers beside the picture: entropy, Gini, mean attention distance."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from napari_sdmae.inference.attention.result import AttentionMap, AttentionResult

HINT = (
    "Entropy: 0 when all attention is on one patch, at most the number in brackets when it is even. "
    "Gini: 0 even, 1 all on one patch. Distance: how far attention reaches on average, weighted by its strength."
)


def number(value: float | None, digits: int = 2) -> str:
    """Return `value` with `digits` after the point, or a dash."""
    return "–" if value is None else f"{value:.{digits}f}"


def distances(result: AttentionResult) -> tuple[list[float], str]:
    """Return the mean attention distance of each head and its unit, µm where the scale is known."""
    pixels, mpp = result.map.distance_px, result.mpp
    if not pixels:
        return [], ""
    return ([value * mpp for value in pixels], "µm") if mpp else (list(pixels), "px")


def table(result: AttentionResult) -> tuple[list[str], list[list[str]]]:
    """Return heading and rows of the numbers of a map; no rows for methods that have none."""
    if result.variance:
        shares = zip(("red", "green", "blue"), result.variance, strict=True)
        return ["", "Variance"], [[colour, f"{share:.0%}"] for colour, share in shares]
    if not result.map.entropy:
        return [], []
    lengths, unit = distances(result)
    most = number(math.log(result.map.grid.count))
    heading = ["Head", f"Entropy\n(≤ {most})", "Gini", *([f"Distance\n({unit})"] if unit else [])]
    return heading, [
        [name, number(entropy), number(gini), *([number(length, 1)] if unit else [])]
        for name, entropy, gini, length in _lines(result.map, lengths)
    ]


def _lines(found: AttentionMap, lengths: Sequence[float]) -> list[tuple[str, float, float, float | None]]:
    if found.head == "grid":
        each: Sequence[float | None] = lengths or [None] * len(found.entropy)
        several = zip(found.entropy, found.gini, each, strict=True)
        return [(f"h{index + 1}", *values) for index, values in enumerate(several)]
    if isinstance(found.head, int):
        name, length = f"h{found.head + 1}", lengths[found.head] if lengths else None
    else:
        name = "mean" if found.head == "mean" and lengths else "all"
        length = sum(lengths) / len(lengths) if lengths else None
    return [(name, found.entropy[0], found.gini[0], length)]


def as_html(heading: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> str:
    """Return the table as rich text for a label."""
    if not rows:
        return ""
    caption = f"<b>{html.escape(title)}</b>" if title else ""
    return f"{caption}<table>{_line('th', heading)}{''.join(_line('td', row) for row in rows)}</table>"


def _line(tag: str, cells: Sequence[str]) -> str:
    opened = f"<{tag} align='right' style='padding-left:6px'>"
    return "<tr>" + "".join(f"{opened}{html.escape(cell).replace(chr(10), '<br>')}</{tag}>" for cell in cells) + "</tr>"
