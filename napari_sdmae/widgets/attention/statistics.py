"""The numbers beside the picture: entropy, Gini, mean attention distance."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

HINT = (
    "Entropy: 0 when all attention is on one patch, at most the number in brackets when it is even. "
    "Gini: 0 even, 1 all on one patch. Distance: how far attention reaches on average, weighted by its strength."
)


def number(value: float | None, digits: int = 2) -> str:
    """Return `value` with `digits` after the point, or a dash."""
    return "–" if value is None else f"{value:.{digits}f}"


def distances(statistics: Mapping[str, Any]) -> tuple[list[float], str]:
    """Return the mean attention distance of each head and its unit, µm where the scale is known."""
    for key, unit in (("distance_um", "µm"), ("distance_px", "px")):
        if statistics.get(key):
            return [float(value) for value in statistics[key]], unit
    return [], ""


def table(answer: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return heading and rows of the numbers of one attention answer; no rows for methods that have none."""
    statistics = answer["statistics"]
    if answer.get("variance"):
        shares = zip(("red", "green", "blue"), answer["variance"], strict=True)
        return ["", "Variance"], [[colour, f"{share:.0%}"] for colour, share in shares]
    if statistics.get("entropy") is None:
        return [], []
    lengths, unit = distances(statistics)
    most = number(statistics.get("entropy_max"))
    heading = ["Head", f"Entropy\n(≤ {most})", "Gini", *([f"Distance\n({unit})"] if unit else [])]
    return heading, [
        [name, number(entropy), number(gini), *([number(length, 1)] if unit else [])]
        for name, entropy, gini, length in _lines(answer, lengths)
    ]


def _lines(answer: Mapping[str, Any], lengths: Sequence[float]) -> list[tuple[str, float | None, float | None, float | None]]:
    statistics, head = answer["statistics"], answer.get("head")
    length: float | None
    if isinstance(statistics["entropy"], Sequence):
        each: Sequence[float | None] = lengths or [None] * len(statistics["entropy"])
        several = zip(statistics["entropy"], statistics["gini"], each, strict=True)
        return [(f"h{index + 1}", *values) for index, values in enumerate(several)]
    if isinstance(head, int):
        name, length = f"h{head + 1}", lengths[head] if lengths else None
    else:
        name, length = ("mean" if head == "mean" and lengths else "all"), sum(lengths) / len(lengths) if lengths else None
    return [(name, statistics["entropy"], statistics["gini"], length)]


def as_html(heading: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> str:
    """Return the table as rich text for a label."""
    if not rows:
        return ""
    caption = f"<b>{html.escape(title)}</b>" if title else ""
    return f"{caption}<table>{_line('th', heading)}{''.join(_line('td', row) for row in rows)}</table>"


def _line(tag: str, cells: Sequence[str]) -> str:
    opened = f"<{tag} align='right' style='padding-left:6px'>"
    return "<tr>" + "".join(f"{opened}{html.escape(cell).replace(chr(10), '<br>')}</{tag}>" for cell in cells) + "</tr>"
