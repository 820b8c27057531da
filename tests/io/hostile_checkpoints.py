"""Checkpoints and model folders as an attacker or a bad disk makes them, each small, for tests."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

Maker = Callable[[Path], Path]


def number(value: int) -> bytes:
    return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def tensor(size: tuple[int, ...], stride: tuple[int, ...], *, storage: int = 4, offset: int = 0) -> bytes:
    """Return the pickle of a float32 tensor on the storage 0, which has 4 numbers."""
    place = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + number(storage) + b"tQ"
    sizes = b"".join(b"(" + b"".join(map(number, numbers)) + b"t" for numbers in (size, stride))
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + place + number(offset) + sizes + b"\x89ccollections\nOrderedDict\n)RtR"


def pickled(values: bytes, *, compression: int = zipfile.ZIP_STORED, data: bytes = b"\0" * 16) -> Maker:
    def make(folder: Path) -> Path:
        path = folder / "hostile.pth"
        with zipfile.ZipFile(path, "w", compression) as archive:
            parts = {"data.pkl": b"\x80\x02" + values + b".", "version": b"3\n", "byteorder": b"little", "data/0": data}
            for name, content in parts.items():
                archive.writestr(f"archive/{name}", content)
        return path

    return make


def entry(value: bytes, key: bytes = text("patch_embed.proj.weight")) -> bytes:
    return b"}" + key + value + b"s"


def saved(content: Any, **options: Any) -> Maker:
    def make(folder: Path) -> Path:
        torch.save(content() if callable(content) else content, folder / "hostile.pth", **options)
        return folder / "hostile.pth"

    return make


def binary(data: bytes, name: str) -> Maker:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return make


def safetensors(header: Any, data: bytes = b"\0" * 16, length: int | None = None) -> Maker:
    told = header if isinstance(header, bytes) else json.dumps(header).encode()
    return binary(struct.pack("<Q", len(told) if length is None else length) + told + data, "hostile.safetensors")


def place(start: int = 0, end: int = 16, **changes: Any) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [4], "data_offsets": [start, end]} | changes


def itself() -> dict[str, Any]:
    content: dict[str, Any] = {}
    content["model"] = content
    return content


def diamonds() -> dict[str, Any]:
    """Return dictionaries that hold each other twice: 2^60 entries when written out."""
    content: dict[str, Any] = {"x": torch.zeros(1)}
    for _ in range(60):
        content = {"a": content, "b": content}
    return content


def truncated() -> bytes:
    file = io.BytesIO()
    torch.save({"patch_embed.proj.weight": torch.zeros(8, 3, 4, 4)}, file)
    return file.getvalue()[:-300]


PATCHES = {"patch_embed.proj.weight": torch.zeros(8, 3, 4, 4), "blocks.0.norm1.weight": torch.zeros(8)}

FILES: dict[str, tuple[Maker, str]] = {
    "key of nested tuples": (pickled(b"})" + b"\x85" * 2_000_000 + b"K\x01s"), "nested more than 200 deep"),
    "nested dictionaries": (pickled((b"}" + text("model")) * 100_000 + b"}" + b"s" * 100_000), "nested more than 200 deep"),
    "nested lists": (pickled(entry(b"]" * 50_000 + b"a" * 49_999)), "nested more than 200 deep"),
    "itself": (saved(itself), "nested more than 200 deep, or refer to themselves"),
    "diamonds": (saved(diamonds), "more than 200,000 entries"),
    "zip bomb": (pickled(entry(tensor((4,), (1,))), compression=zipfile.ZIP_DEFLATED, data=bytes(20_000_000)), "take 20 MB when"),
    "expanded": (pickled(entry(tensor((10**12,), (0,)))), "would take 4\\.0 TB when read"),
    "storage too small": (pickled(entry(tensor((10**6,), (1,)))), "not a readable PyTorch checkpoint"),
    "storage too large": (pickled(entry(tensor((4,), (1,), storage=10**9))), "not a readable PyTorch checkpoint"),
    "offset outside": (pickled(entry(tensor((4,), (1,), offset=10**9))), "not a readable PyTorch checkpoint"),
    "negative stride": (pickled(entry(tensor((4,), (-1,)))), "not a readable PyTorch checkpoint"),
    "bytearray": (pickled(entry(b"cbuiltins\nbytearray\n" + number(8 * 10**9) + b"\x85R")), "bytearray"),
    "code": (pickled(entry(b"cos\nsystem\n" + text("true") + b"\x85R")), "Nothing in it was run"),
    "code before PyTorch 1.6": (binary(b"cos\nsystem\n(S'true'\ntR.", "hostile.pth"), "was refused|not a readable"),
    "cut short": (binary(truncated(), "hostile.pth"), "not a readable PyTorch checkpoint"),
    "a list": (saved([torch.zeros(1)]), "holds a list; expected a dictionary"),
    "sparse": (saved(lambda: {"patch_embed.proj.weight": torch.zeros(8, 3, 4, 4).to_sparse()}), "holds no plain vision"),
    "no storage": (saved(lambda: {"patch_embed.proj.weight": torch.zeros(8, 3, 4, 4, device="meta")}), "holds no plain vision"),
    "flat patches": (saved({"patch_embed.proj.weight": torch.zeros(8, 48)}), "is \\(8, 48\\); expected 4 dimensions"),
    "no width": (saved({"patch_embed.proj.weight": torch.zeros(0, 3, 4, 4)}), "none of them empty"),
    "oblong patches": (saved({"patch_embed.proj.weight": torch.zeros(8, 3, 4, 2)}), "expected square patches of RGB"),
    "flat code": (saved(PATCHES | {"pos_embed": torch.zeros(8)}), "expected 3 dimensions"),
    "half a MAE": (saved(PATCHES | {"decoder_pred.weight": torch.zeros(1)}),
                   "decoder_embed.weight is missing"),
    "heads as text": (saved({"model": PATCHES, "args": {"encoder_num_heads": "x"}}),
                      "encoder_num_heads x; expected a whole number"),
    "NaN": (saved({"model": PATCHES | {"norm.bias": torch.full((8,), torch.nan)}}), "norm.bias holds numbers that are NaN"),
    "no blocks": (saved({"patch_embed.proj.weight": torch.zeros(8, 3, 4, 4)}), "hostile.pth: depth is 0; expected"),
    "legacy NaN": (saved({"model": {"patch_embed.proj.weight": torch.full((8, 3, 4, 4), -torch.inf)}},
                         _use_new_zipfile_serialization=False), "patch_embed.proj.weight holds numbers that are NaN or infinite"),
    "header too long": (safetensors({"a": place()}, length=2**63), "its header would have"),
    "header longer than the file": (safetensors({"a": place()}, length=5_000), "its header would have"),
    "overlapping": (safetensors({"a": place(), "b": place()}), "does not begin where"),
    "a hole": (safetensors({"a": place(), "b": place(32, 48)}, bytes(48)), "does not begin where"),
    "outside the file": (safetensors({"a": place(0, 160, shape=[40])}), "the tensors take 160 bytes, the file has 16"),
    "twice one name": (safetensors(b'{"a": %s, "a": %s}' % (json.dumps(place()).encode(), json.dumps(place(16, 32)).encode()),
                                   bytes(32)), "does not begin where"),
    "huge shape": (safetensors({"a": place(shape=[2**40, 2**40])}), "does not fill its place"),
    "negative shape": (safetensors({"a": place(shape=[-4])}), "no whole numbers"),
    "shape of text": (safetensors({"a": place(shape="4")}), "no whole numbers"),
    "strange numbers": (safetensors({"a": place(dtype="\x1b[31mred")}), "has numbers of kind"),
    "deep header": (safetensors(b'{"a":' * 200_000 + b"1" + b"}" * 200_000), "nested too deeply"),
    "header of a list": (safetensors([1, 2]), "not a readable safetensors file"),
    "infinite": (safetensors({"patch_embed.proj.weight": place()}, struct.pack("<4f", 0, 1, float("inf"), 2)), "NaN or infinite"),
}  # fmt: skip
"""Files that ``sdmae convert`` must refuse, each with words of the reason."""
