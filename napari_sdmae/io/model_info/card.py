"""The card of a model: a ``README.md`` beside its weights that says what it was made of, and what it can and cannot be used for.

The first heading is the name that people see. A section for each of :data:`SECTIONS` follows, as ``## Data`` and so on.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from napari_sdmae.config.base import read_yaml
from napari_sdmae.notices import USE

CARD = "README.md"
SECTIONS = ("Data", "Licence", "Recipe", "Metrics", "Limits")
NOT_STATED = "Not stated."


def read_card(folder: Path) -> str | None:
    """Return the card of a model folder, None where there is none."""
    return read_card_file(folder / CARD) if (folder / CARD).is_file() else None


def read_card_file(path: Path) -> str:
    """Return the text of a card; OSError if it cannot be read."""
    if not path.is_file():
        raise FileNotFoundError(f"no model card {path}: give a Markdown file")
    return path.read_text(encoding="utf-8", errors="replace")


def card_body(text: str) -> str:
    """Return a card without the block of YAML with which those of model hubs begin."""
    return re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL).strip()


def card_title(text: str) -> str:
    """Return the first heading of a card, the name that people see; empty where there is none."""
    found = re.search(r"^# +(.+?)\s*$", card_body(text), re.MULTILINE)
    return found[1] if found else ""


def says_use(text: str) -> bool:
    """Return whether a card says what its model may be used for."""
    return USE in " ".join(text.split())


def card_problems(text: str) -> list[str]:
    """Return what a card lacks before its model may be given to others, one line each."""
    problems = [] if card_title(text) else ["no name: begin with a heading, # NAME"]
    problems += [] if says_use(text) else [f"it does not say “{USE}”"]
    for name in SECTIONS:
        body = re.search(rf"^## +{name}\s*$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
        if body is None or not body[1].strip():
            problems.append(f"no section ## {name}, or nothing in it")
        elif NOT_STATED in body[1]:
            problems.append(f"## {name} says “{NOT_STATED}”")
    return problems


def draft_card(title: str, run: Path | None = None) -> str:
    """Return a card to complete, with the settings of the run folder a model came from, without its folders.

    Parameters
    ----------
    title
        Name of the model.
    run
        The run folder, when there is one.
    """
    settings = _settings(run)
    recipe = f"napari-sdmae with these settings:\n\n```yaml\n{settings}```" if settings else NOT_STATED
    sections = dict.fromkeys(SECTIONS, NOT_STATED) | {"Recipe": recipe, "Limits": f"{NOT_STATED} Attention is not explanation."}
    return "\n\n".join([f"# {title}", USE, *(f"## {name}\n\n{body}" for name, body in sections.items())]) + "\n"


def _settings(run: Path | None) -> str:
    """Return the settings of a run as YAML, without what only its own machine knows; empty where there are none."""
    path = None if run is None else run / "config.yaml"
    if path is None or not path.is_file():
        return ""
    settings = read_yaml(path)
    if not isinstance(settings, dict):
        return ""
    return str(yaml.safe_dump(_without_places(settings), sort_keys=False, allow_unicode=True))


def _without_places(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings without folders, device and threads."""
    kept = {name: value for name, value in settings.items() if name not in ("data", "cache", "device", "threads")}
    if isinstance(model := kept.get("model"), str):  # of fine-tuning: where its encoder lay
        kept["model"] = Path(model).name
    return {name: _without_places(value) if isinstance(value, dict) else value for name, value in kept.items()}
