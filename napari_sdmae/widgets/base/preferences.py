"""What people set once: napari's preferences of this plugin, and the values last used.

Preferences are the ``configurations`` of napari.yaml; napari 0.9 shows them under Preferences and keeps them in
``napari-sdmae.yaml`` beside its own settings. The values last used are a small JSON file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from napari.settings import get_plugin_settings
from platformdirs import user_config_path

from napari_sdmae.io.atomic import write_atomically
from napari_sdmae.text.documents import read_json

PLUGIN = "napari-sdmae"
RECENT = 8


def preference(name: str) -> Any:
    """Return the preference `name`: ``device``, ``output_folder``, ``cache_folder`` or ``idle_seconds``."""
    return getattr(get_plugin_settings(PLUGIN).general, name)


def output_folder() -> Path:
    """Return the folder offered for runs and results: the preference, or ``sdmae`` in the home folder."""
    chosen = str(preference("output_folder")).strip()
    return Path(chosen).expanduser() if chosen else Path.home() / "sdmae"


def device_arguments() -> list[str]:
    """Return the arguments that make a command compute on the preferred device."""
    device = str(preference("device"))
    return [] if device == "auto" else ["--device", device]


def cache_folder() -> Path | None:
    """Return the folder for decoded tiles, or None for the user's cache folder."""
    chosen = str(preference("cache_folder")).strip()
    return Path(chosen).expanduser() if chosen else None


def memory_file() -> Path:
    """Return the file that holds the values last used."""
    return user_config_path(PLUGIN) / "remembered.json"


def remembered(key: str, default: Any) -> Any:
    """Return the value last used for `key`; `default` when there is none of its type."""
    value = _read().get(key, default)
    return value if isinstance(value, type(default)) else default


def remember(key: str, value: Any) -> None:
    """Keep `value` (text, number, list or dictionary) for the next time; a read-only home folder is no error."""
    values = _read()
    if values.get(key) == value:
        return
    try:
        memory_file().parent.mkdir(parents=True, exist_ok=True)
        write_atomically(memory_file(), json.dumps(values | {key: value}, indent=1).encode())
    except OSError:
        return


def remember_recent(key: str, value: str) -> list[str]:
    """Put `value` first in the list of recent values of `key`, and return the list."""
    recent = [value, *(one for one in remembered(key, []) if one != value)][:RECENT]
    remember(key, recent)
    return recent


def _read() -> dict[str, Any]:
    try:
        values = read_json(memory_file())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
