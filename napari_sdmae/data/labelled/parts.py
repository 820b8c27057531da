"""The parts that folders, files and tables name: training, validation, test. No torch."""

from __future__ import annotations

from collections.abc import Iterable

from napari_sdmae.config.finetune import Part

PART_NAMES: dict[str, Part] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("nct-crc-he-100k", "monuseg 2018 training data"), "train"),
    **dict.fromkeys(("crc-val-he-7k", "monusegtestdata"), "test"),
}
"""Names of folders, files and table entries that say which part an image belongs to, in small letters; also as published."""


def part_of(word: str) -> Part | None:
    """Return the part that a folder, file or table entry of this name means, or None."""
    return PART_NAMES.get(word.strip().lower())


def part_in(folders: Iterable[str]) -> Part | None:
    """Return the part that the first of `folders` which names one means, or None."""
    return next((found for found in map(part_of, folders) if found), None)
