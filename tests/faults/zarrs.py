"""Hostile OME-Zarr folders."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

ARRAY: dict[str, Any] = {
    "zarr_format": 3,
    "node_type": "array",
    "shape": [48, 48],
    "data_type": "uint16",
    "fill_value": 0,
    "attributes": {},
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [48, 48]}},
    "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
    "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
}
OLD: dict[str, Any] = {
    "zarr_format": 2,
    "shape": [48, 48],
    "chunks": [48, 48],
    "dtype": "<u2",
    "compressor": None,
    "fill_value": 0,
    "order": "C",
    "filters": None,
}


def zarrs(labels: Path) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Yield names, and functions that write a hostile folder to a path."""
    for name, change in {
        "shape-huge": {"shape": [10**9, 10**9]},
        "shape-negative": {"shape": [-1, 48]},
        "shape-one": {"shape": [48]},
        "shape-many": {"shape": [1] * 40},
        "shape-text": {"shape": "large"},
        "type": {"data_type": "surprise"},
        "type-text": {"data_type": "string"},
        "float": {"data_type": "float32"},
        "chunk-zero": {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [0, 0]}}},
        "codecs": {"codecs": [{"name": "surprise"}]},
        "chunk-huge": {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [10**9, 10**9]}}},
        "no-codecs": {"codecs": []},
        "format": {"zarr_format": 99},
        "grid": {"chunk_grid": None},
        "fill": {"fill_value": "NaN"},
        "node": {"node_type": "surprise"},
    }.items():
        yield name, partial(_write, array=ARRAY | change)
    for name, change in {
        "old-object": {"dtype": "|O", "filters": [{"id": "pickle"}]},
        "old-huge": {"shape": [10**9, 10**9]},
        "old-type": {"dtype": "surprise"},
        "old-compressor": {"compressor": {"id": "surprise"}},
        "old-chunks": {"chunks": [0, 0]},
        "old-structure": {"dtype": [["a", "<u2"]]},
    }.items():
        yield name, partial(_write_old, array=OLD | change)
    for name, ome in {
        "ome-list": [],
        "ome-none": None,
        "no-datasets": {"multiscales": [{"axes": [], "datasets": []}]},
        "multiscales-dict": {"multiscales": {}},
        "path-parent": {"multiscales": [{"axes": [{"name": "y"}, {"name": "x"}], "datasets": [{"path": "../../.."}]}]},
        "path-absolute": {"multiscales": [{"axes": [{"name": "y"}, {"name": "x"}], "datasets": [{"path": "/etc"}]}]},
        "path-number": {"multiscales": [{"axes": [{"name": "y"}], "datasets": [{"path": 5}]}]},
        "axes-text": {"multiscales": [{"axes": "yx", "datasets": [{"path": "0"}]}]},
        "scale-zero": {
            "multiscales": [
                {
                    "axes": [{"name": "y"}, {"name": "x"}],
                    "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [0, 0]}]}],
                }
            ]
        },
        "scale-text": {
            "multiscales": [
                {
                    "axes": [{"name": "y"}, {"name": "x"}],
                    "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": "one"}]}],
                }
            ]
        },
        "colours": {"image-label": {"colors": [{"label-value": "x", "rgba": [1]}], "properties": [None]}},
    }.items():
        yield name, partial(_write, array=ARRAY, ome=ome)
    yield "empty", lambda path: path.mkdir()
    yield "deep", lambda path: _texts(path, {"zarr.json": "{" + '"a":{' * 20_000})
    yield "noise", lambda path: _texts(path, {"zarr.json": "\x00\x01", ".zgroup": "{", ".zattrs": "["})
    yield "link", _link


def _write(path: Path, array: dict[str, Any], ome: Any = "usual") -> None:
    usual = {
        "version": "0.5",
        "multiscales": [{"axes": [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}], "datasets": [{"path": "0"}]}],
    }
    if isinstance(ome, dict):
        ome = usual | ome
    group = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": usual if ome == "usual" else ome}}
    _texts(path, {"zarr.json": json.dumps(group), "0/zarr.json": json.dumps(array)})
    (path / "0" / "c" / "0").mkdir(parents=True)
    (path / "0" / "c" / "0" / "0").write_bytes(bytes(48 * 48 * 2))


def _write_old(path: Path, array: dict[str, Any]) -> None:
    attributes = {
        "multiscales": [
            {
                "version": "0.4",
                "axes": [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}],
                "datasets": [{"path": "0"}],
            }
        ]
    }
    _texts(path, {".zgroup": '{"zarr_format": 2}', ".zattrs": json.dumps(attributes), "0/.zarray": json.dumps(array)})
    (path / "0" / "0.0").write_bytes(
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x0ctouch canary\x85R.".ljust(48 * 48 * 2, b"\0")
    )


def _link(path: Path) -> None:
    _write(path, ARRAY)
    (path / "0" / "c" / "0" / "0").unlink()
    (path / "0" / "c" / "0" / "0").symlink_to("/dev/zero")


def _texts(path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
