"""Hostile weights: pickles that run code, damaged containers, headers that lie, numbers that are none. From a seed."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

Named = tuple[str, bytes]


class _Call:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


def pickles(rng: np.random.Generator) -> Iterator[Named]:
    """Yield what can call itself ``.pth``, with code that would make the file ``canary``."""
    import os
    import subprocess

    calls = {
        "system": _Call(os.system, "touch canary"),
        "run": _Call(subprocess.run, ["touch", "canary"]),
        "open": _Call(open, "canary", "w"),
        "eval": _Call(eval, "open('canary', 'w')"),
        "exec": _Call(exec, "open('canary', 'w')"),
        "getattr": _Call(getattr, _Call(__import__, "os"), "system"),
    }
    for name, call in calls.items():
        yield f"{name}-old", pickle.dumps({"model": call}, 2)
        yield f"{name}-zip", archive(pickle.dumps({"model": {"a": call}}, 2))
    deep: Any = 1
    for _ in range(400):
        deep = {"model": deep}
    yield "nested", archive(pickle.dumps(deep, 2))
    yield "nested-more", archive(b"\x80\x02" + b"}" + b"(X\x05\0\0\0model}" * 50_000 + b"u" * 50_000 + b".")
    yield "tuples", archive(b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b".")
    yield "memo", archive(b"\x80\x02h\xff.")
    yield "long", archive(b"\x80\x02\x8b\xff\xff\xff\x7f.")
    yield "list", archive(pickle.dumps([1, 2, 3], 2))
    yield "none", archive(pickle.dumps(None, 2))
    yield "loop", archive(b"\x80\x02}q\0X\x05\0\0\0modelh\0s.")
    yield "no-data", archive(b"")
    yield "empty", b""
    yield "text", b"not a checkpoint"
    yield "noise", rng.bytes(4000)
    yield "zip-of-nothing", archive(b"\x80\x02}.", name="something/else.pkl")


def archive(content: bytes, name: str = "archive/data.pkl") -> bytes:
    """Return a zip as ``torch.save`` makes it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr(name, content)
        zipped.writestr("archive/version", "3\n")
        zipped.writestr("archive/byteorder", "little")
    return file.getvalue()


def damaged(data: bytes, rng: np.random.Generator) -> Iterator[Named]:
    """Yield a sound file cut short and with flipped bytes."""
    for share in (0.01, 0.3, 0.7, 0.999):
        yield f"cut-{share}", data[: int(len(data) * share)]
    for number in range(8):
        changed = bytearray(data)
        for place in rng.integers(0, min(3000, len(data)) if number % 2 else len(data), 3):
            changed[place] ^= int(rng.integers(1, 256))
        yield f"flipped-{number}", bytes(changed)


def safetensors(data: bytes) -> Iterator[Named]:
    """Yield safetensors files whose header lies, made from a sound one."""
    length = struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    name = next(one for one in header if one != "__metadata__")

    def packed(changed: Any, more: bytes = body) -> bytes:
        text = changed if isinstance(changed, bytes) else json.dumps(changed).encode()
        return struct.pack("<Q", len(text)) + text + more

    for what, change in {
        "shape-negative": {"shape": [-1]},
        "shape-huge": {"shape": [2**62, 4]},
        "shape-text": {"shape": "many"},
        "dtype": {"dtype": "F128"},
        "offsets-beyond": {"data_offsets": [0, 2**60]},
        "offsets-back": {"data_offsets": [100, 0]},
        "offsets-none": {"data_offsets": None},
        "shape-none": {"shape": None},
        "shape-nested": {"shape": [[1]]},
    }.items():
        yield what, packed(header | {name: header[name] | change})
    yield "entry-list", packed(header | {name: [1]})
    yield "header-list", packed([1, 2])
    yield "header-deep", packed(b'{"a":' * 20_000 + b"1" + b"}" * 20_000)
    yield "header-text", packed(b"{not json")
    yield "header-bytes", packed(b"\xff\xfe{}")
    yield "length-huge", struct.pack("<Q", 2**63) + data[8:]
    yield "length-zero", struct.pack("<Q", 0) + data[8:]
    yield "no-tensors", packed({}, b"")
    yield "metadata", packed(header | {"__metadata__": {"a": 5}})
    yield "escape", packed({"\x1b[2J" + name: header[name], "__metadata__": {"a": "\x1b[31m"}})


def numbers(data: bytes) -> Iterator[Named]:
    """Yield a sound safetensors file whose weights are no numbers."""
    length = struct.unpack("<Q", data[:8])[0]
    body = np.frombuffer(data[8 + length :], np.uint8).view("<f4").copy()
    for name, value in {"nan": np.nan, "infinite": np.inf, "enormous": 3e38}.items():
        for places in (slice(0, 1), slice(None)):
            changed = body.copy()
            changed[places] = value
            yield f"{name}-{'one' if places.stop else 'all'}", data[: 8 + length] + changed.tobytes()


def configs(config: dict[str, Any]) -> Iterator[Named]:
    """Yield ``config.json`` of a model that says what cannot be."""
    model = config["model"]
    for name, change in {
        "std-zero": {"std": [0, 0, 0]},
        "std-negative": {"std": [-1, 1, 1]},
        "mean-nan": {"mean": [float("nan")] * 3},
        "mean-short": {"mean": [0.5]},
        "mean-infinite": {"mean": [float("inf")] * 3},
        "tile-zero": {"tile_size": 0},
        "tile-huge": {"tile_size": 2**40},
        "patch-zero": {"patch_size": 0},
        "patch-text": {"patch_size": "eight"},
        "patch-negative": {"patch_size": -8},
        "width-huge": {"encoder_width": 2**40},
        "depth-huge": {"encoder_depth": 10**9},
        "encoder-other": {"encoder": "resnet50"},
        "encoder-path": {"encoder": "../../etc/passwd"},
        "encoder-hub": {"encoder": "hf-hub:someone/something"},
        "encoder-number": {"encoder": 5},
        "unknown": {"surprise": 1},
        "none": {"tile_size": None},
        "escape": {"encoder": "\x1b[31mvit"},
    }.items():
        yield f"model-{name}", json.dumps(config | {"model": model | change}).encode()
    for name, change in {
        "model-list": {"model": []},
        "encoder-none": {"encoder": None},
        "encoder-heads": {"encoder": {"width": 16, "depth": 1, "heads": 0}},
        "encoder-depth": {"encoder": {"width": 16, "depth": 10**9, "heads": 1}},
        "mpp-zero": {"mpp": 0},
        "mpp-negative": {"mpp": -1},
        "mpp-nan": {"mpp": float("nan")},
        "mpp-text": {"mpp": "half"},
        "mpp-huge": {"mpp": 1e300},
        "version": {"version": 10**30},
        "version-text": {"version": "one"},
        "format": {"format": "something"},
        "format-none": {"format": None},
        "target": {"target_normalisation": "odd"},
        "provenance": {"provenance": "\x1b]0;title\x07"},
    }.items():
        yield name, json.dumps(config | change).encode()
    yield "deep", b'{"format":' * 30_000 + b"1" + b"}" * 30_000
    yield "list", b"[]"
    yield "null", b"null"
    yield "number", b"1e999"
    yield "digits", b'{"version": ' + b"9" * 10_000 + b"}"
    yield "empty", b""
    yield "cut", json.dumps(config).encode()[:100]
    yield "bytes", b"\xff\xfe\x00\x00"
    yield "bom", b"\xef\xbb\xbf" + json.dumps(config).encode()


def copy_of(model: Path, folder: Path, **changed: bytes) -> None:
    """Copy a model folder with some files replaced: ``config`` or ``weights``."""
    folder.mkdir(parents=True)
    for name, key in (("config.json", "config"), ("model.safetensors", "weights")):
        (folder / name).write_bytes(changed.get(key, (model / name).read_bytes()))
