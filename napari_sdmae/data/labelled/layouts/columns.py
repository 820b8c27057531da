"""What the columns of tables about labelled images tell, in the words and units that people write. No torch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from napari_sdmae.config.limits import implausible
from napari_sdmae.text.documents import DocumentError, read_table
from napari_sdmae.text.spelling import one_form

COLUMNS = {
    "file": ("file", "image", "path", "filename", "file_name", "id", "datei", "bild"),
    "mask": ("mask", "labels", "label_image", "instances"),
    "types": ("types",),
    "label": ("label", "class", "diagnosis"),
    "split": ("split", "part", "subset"),
    "mpp": ("mpp", "um_per_px", "um_per_pixel", "um/px", "um/pixel", "microns_per_pixel", "pixel_size", "resolution"),
    "patient": ("patient", "patient_id", "case", "case_id", "fall"),
    "slide": ("slide", "slide_id", "wsi", "schnitt"),
    "group": ("group",),
}
"""What a table can tell, and the column names that say it, as :func:`_plain` writes them; the first that is there counts."""
UNITS = {"nm": 1e-3, "um": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0, "micrometre": 1.0, "mm": 1e3}
"""Micrometres in the units in which people give the size of a pixel."""

Row = dict[str, str]


class TableError(ValueError):
    """A table that cannot be used; the message is the reason, without the file's name."""


def words_for(what: str) -> tuple[str, ...]:
    """Return the column names that tell one of `COLUMNS`."""
    return COLUMNS[what]


def columns_of(path: Path) -> set[str]:
    """Return which of `COLUMNS` a table tells.

    Raises
    ------
    TableError
        If the file is no table.
    """
    try:
        return set(_known(read_table(path, header_only=True).columns))
    except (DocumentError, OSError) as error:
        raise TableError(_reason(error)) from None


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a table, with the columns of `COLUMNS` by what they tell; the other columns are left out.

    A scale keeps the unit that its column names.

    Raises
    ------
    TableError
        If the file is no table.
    """
    try:
        table = read_table(path)
    except (DocumentError, OSError) as error:
        raise TableError(_reason(error)) from None
    known = _known(table.columns)
    unit = _unit(known["mpp"]) if "mpp" in known else ""
    rows = [{what: row[column] for what, column in known.items()} for row in table.rows]
    return [row | {"mpp": f"{row['mpp']} {unit}"} if unit and row.get("mpp") else row for row in rows]


def scale_of(text: str) -> float:
    """Return the µm per pixel in a cell: ``0.25``, ``0,25``, ``0.25 µm`` or ``250 nm``.

    Raises
    ------
    ValueError
        If it is no number, the unit is not known, or no microscope has such a scale.
    """
    found = re.fullmatch(r"([-+0-9.,eE]+)\s*([^\d\s].*)?", text.strip())
    number, unit = (found[1].replace(",", "."), _plain_unit(found[2] or "um")) if found else ("", "")
    try:
        mpp = float(number) * UNITS[unit]
    except (ValueError, KeyError):
        raise ValueError(f"mpp {text!r}: expected µm per pixel, such as 0.25") from None
    if doubt := implausible(mpp):
        raise ValueError(f"mpp {text}: {doubt}")
    return mpp


def _reason(error: Exception) -> str:
    return f"it cannot be read ({error.strerror})" if isinstance(error, OSError) else str(error)


def _known(columns: Iterable[str]) -> dict[str, str]:
    """Return the column that tells each thing of `COLUMNS` which is told."""
    plain = {_plain(column): column for column in reversed(list(columns))}
    found = {what: next((plain[word] for word in words if word in plain), None) for what, words in COLUMNS.items()}
    if found["mpp"] is not None and _plain(found["mpp"]) in ("resolution", "pixel_size") and not _unit(found["mpp"]):
        found["mpp"] = None  # may be dots per inch
    return {what: column for what, column in found.items() if column}


def _plain(column: str) -> str:
    """Return a column's name in small letters, without a unit in brackets, words joined by a low line."""
    name = re.sub(r"[(\[].*?[)\]]", "", _micro(column)).strip().casefold()
    return re.sub(r"[\s-]+", "_", name)


def _unit(column: str) -> str:
    """Return the unit in brackets behind a column's name; empty if there is none."""
    found = re.search(r"[(\[](.*?)[)\]]", column)
    return found[1].strip() if found else ""


def _plain_unit(unit: str) -> str:
    """Return a unit as in `UNITS`, without "per pixel"."""
    return re.sub(r"\s*(/|per\s)\s*(px|pixels?)$", "", _micro(unit).strip().casefold())


def _micro(text: str) -> str:
    """Write both of Unicode's micro signs as u."""
    return one_form(text).replace("µ", "u").replace("\u03bc", "u")
