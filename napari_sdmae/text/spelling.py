"""Names of files, classes and slides as they are compared: macOS spells ü as u and two dots, Windows does not tell A from a."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from typing import Generic, TypeVar

Found = TypeVar("Found")


def one_form(name: str) -> str:
    """Return a name in Unicode's composed form (NFC), in which names are shown and compared."""
    return unicodedata.normalize("NFC", name)


def near(name: str) -> str:
    """Return what names have in common that differ in case or Unicode form only."""
    return one_form(one_form(name).casefold())


class ByName(Generic[Found]):
    """Things by their names, found also by a name that differs in Unicode form, or in case where only one thing is called so."""

    def __init__(self, named: Iterable[tuple[str, Found]]) -> None:
        self._exact: dict[str, list[Found]] = defaultdict(list)
        self._near: dict[str, list[Found]] = defaultdict(list)
        for name, thing in named:
            self._exact[one_form(name)].append(thing)
            self._near[near(name)].append(thing)

    def all(self, name: str) -> list[Found]:
        """Return all that is called `name`, or if nothing is, all that differs in case only."""
        return self._exact.get(one_form(name)) or self._near.get(near(name)) or []

    def find(self, name: str) -> Found | None:
        """Return the one thing that is called `name`; None if there is none, or several."""
        found = self.all(name)
        return found[0] if len(found) == 1 else None
