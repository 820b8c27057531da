"""Features on disk, written as they come: npz for NumPy, Parquet for tables (extra ``parquet``).

npz: ``features`` float32 (N, D) or (N, L, D); ``files`` (F,) and ``file`` (N,), an index into it; ``row`` and ``column`` (N,),
the upper left corner in px of the file at full resolution; ``size`` (N,), the edge of the tile in these px; ``mpp`` (N,), µm per
px of the file, NaN if unknown; ``tile`` and ``stride`` in px that the model saw; ``model_mpp``, NaN if unknown; ``pool``;
``model``. Parquet: the same, one row per tile, ``file`` as text, ``features`` as a list of fixed length (tokens one after the
other); what is the same for all is JSON under ``sdmae`` in the metadata of the table.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_sdmae.inference.embedding.embed import Embedded
from napari_sdmae.io.atomic import atomic_path

CHUNK = 16 * 2**20
"""Bytes copied at once."""


class FeatureWriter(Protocol):
    """Takes features of tiles as they come."""

    def add(self, file: str, mpp: float | None, some: Embedded) -> None:
        """Write the features of some tiles of a file."""


def check_end(path: Path) -> None:
    """Raise ValueError if the end of a name is neither ``.npz`` nor ``.parquet``, or Parquet cannot be written here."""
    if path.suffix.lower() not in _KINDS:
        raise ValueError(f"{path.name}: expected a name that ends in .npz or .parquet")
    if path.suffix.lower() == ".npz":
        return
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise ValueError("Parquet needs the package pyarrow: pip install 'napari-sdmae[parquet]', or write .npz") from None


@contextmanager
def writing(path: Path, about: dict[str, Any], overwrite: bool = False) -> Iterator[FeatureWriter]:
    """Give a writer of ``.npz`` or ``.parquet``; the file appears, or replaces an older one, when the block ends without error.

    Parameters
    ----------
    path
        Its end says the format.
    about
        What is the same for all tiles: plain values.
    overwrite
        Whether an older file may be replaced.

    Raises
    ------
    ValueError
        If the end is neither, or pyarrow is missing.
    FileExistsError, OSError
        If the file is there, or cannot be written.
    """
    check_end(path)
    with atomic_path(path, overwrite) as aside, _KINDS[path.suffix.lower()](aside, about) as writer:
        yield writer


class _Npz:
    """Features go to a temporary file: a zip wants to know how many there are before the first."""

    def __init__(self, features: IO[bytes]) -> None:
        self._features = features
        self.shape: tuple[int, ...] = (0,)
        self.count = 0
        self.files: dict[str, int] = {}
        self.columns: dict[str, list[NDArray[Any]]] = {name: [] for name in ("file", "row", "column", "size", "mpp")}

    def add(self, file: str, mpp: float | None, some: Embedded) -> None:
        """Write the features of some tiles of a file."""
        count = len(some.features)
        self.shape = some.features.shape[1:]
        self.count += count
        self._features.write(np.ascontiguousarray(some.features, "<f4").tobytes())
        number = self.files.setdefault(file, len(self.files))
        values: dict[str, NDArray[Any]] = {"file": np.full(count, number, np.int32), "row": some.rows, "column": some.columns}
        values |= {"size": np.full(count, some.size), "mpp": np.full(count, np.nan if mpp is None else mpp)}
        for name, column in values.items():
            self.columns[name].append(column)


@contextmanager
def _npz(path: Path, about: dict[str, Any]) -> Iterator[FeatureWriter]:
    with tempfile.TemporaryFile(dir=path.parent) as features:
        writer = _Npz(features)
        yield writer
        features.seek(0)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            with archive.open("features.npy", "w", force_zip64=True) as member:
                header = {"descr": "<f4", "fortran_order": False, "shape": (writer.count, *writer.shape)}
                np.lib.format.write_array_header_1_0(member, header)
                while chunk := features.read(CHUNK):
                    member.write(chunk)
            small = {name: np.concatenate(parts) if parts else np.zeros(0) for name, parts in writer.columns.items()}
            small |= {"files": np.array(list(writer.files), np.str_)} | {name: np.array(value) for name, value in about.items()}
            for name, values in small.items():
                with archive.open(f"{name}.npy", "w") as member:
                    np.lib.format.write_array(member, values, allow_pickle=False)


class _Parquet:
    """One group of rows for each call."""

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self._path, self._about = path, about
        self._writer: Any = None

    def add(self, file: str, mpp: float | None, some: Embedded) -> None:
        """Write the features of some tiles of a file."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        count = len(some.features)
        flat = pa.FixedSizeListArray.from_arrays(pa.array(some.features.reshape(-1)), some.features[0].size)
        columns = {
            "file": pa.array([file] * count),
            "row": pa.array(some.rows),
            "column": pa.array(some.columns),
            "size": pa.array(np.full(count, some.size)),
            "mpp": pa.array([mpp] * count, pa.float64()),
            "features": flat,
        }
        table = pa.table(columns, metadata={"sdmae": json.dumps(self._about | {"shape": list(some.features.shape[1:])})})
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, table.schema)
        self._writer.write_table(table)

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()


@contextmanager
def _parquet(path: Path, about: dict[str, Any]) -> Iterator[FeatureWriter]:
    writer = _Parquet(path, about)
    try:
        yield writer
    finally:
        writer.close()


_KINDS = {".npz": _npz, ".parquet": _parquet}
