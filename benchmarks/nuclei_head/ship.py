"""The head as it is shipped: 16-bit weights, the licence of what it learned from, and a card with what was measured."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from napari_sdmae.humanize import several
from napari_sdmae.io.checkpoints.head_folder import load_head, save_head

CARD = Path(__file__).parent / "card.md"


def ship(head: Path, tables: dict[str, dict[str, Any]], folder: Path) -> Path:
    """Write the head and its card into `folder`, and return it."""
    model = load_head(head)
    known = {key: value for key, value in model.spec.provenance.items() if key not in ("labels", "image_mpp")}
    model.spec = model.spec.model_copy(update={"provenance": known | {"run": "nuclei", "model": "tissue-vit-tiny"}})
    save_head(folder, model, half=True)
    told = {"TABLE": _table(tables), "DATE": time.strftime("%Y-%m-%d"), "ROUNDS": several(len(tables), "head", "heads")}
    card = CARD.read_text(encoding="utf-8")
    for name, text in told.items():
        card = card.replace(f"{{{name}}}", text)
    (folder / "README.md").write_text(card, encoding="utf-8")
    return folder


def _table(tables: dict[str, dict[str, Any]]) -> str:
    """Return the last round's figures, image by image, as Markdown."""
    last = list(tables.values())[-1]
    lines = ["| image of MoNuSeg | AJI at 0.25 µm/px | F1 | PQ | AJI at 0.5 µm/px | F1 | PQ |", "|---|---|---|---|---|---|---|"]
    for name, one in [*last["images"].items(), ("**mean**", last["mean"])]:
        values = [one[scale][metric] for scale in ("0.25 µm/px", "0.5 µm/px") for metric in ("AJI", "F1", "PQ")]
        lines.append(f"| {name} | " + " | ".join(f"{value:.3f}" for value in values) + " |")
    return "\n".join(lines)
