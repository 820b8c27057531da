"""Hostile settings, statuses, tables, class files and label files. From a seed."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import numpy as np

Named = tuple[str, bytes]
LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join(['*' + old] * 10)}]\n" for old, new in zip("abcdefghi", "bcdefghij", strict=True)
)


def settings(sound: str) -> Iterator[Named]:
    """Yield YAML that should be settings, made from a sound file."""
    texts = {
        "laughs": LAUGHS,
        "laughs-in-field": sound + f"\n{LAUGHS}",
        "deep-flow": "[" * 20_000,
        "deep-map": "{a: " * 20_000,
        "deep-lines": "".join(" " * number + "a:\n" for number in range(3000)),
        "loop": "&a [*a]",
        "loop-map": "&a {b: *a}",
        "python": "!!python/object/apply:os.system ['touch canary']",
        "python-new": "data: !!python/object/new:os.system ['touch canary']",
        "python-name": "data: !!python/name:os.system",
        "empty": "",
        "list": "- 1\n",
        "text": "just words",
        "number": "5",
        "tab": "data:\t- a\n\t b",
        "twice": sound + "\nepochs: 3\nepochs: 4\n",
        "unknown": sound + "\nsurprise: 1\n",
        "infinite": sound + "\nepochs: .inf\n",
        "nan": sound + "\nmask_ratio: .nan\n",
        "enormous": sound + "\nepochs: " + "9" * 5000 + "\n",
        "hex": sound + "\nseed: 0x" + "f" * 3000,
        "negative": sound + "\nepochs: -1\n",
        "date": sound + "\nseed: 2026-99-99\n",
        "binary": sound + "\nseed: !!binary gibberish!\n",
        "merge": "<<: *nothing\n" + sound,
        "merge-loop": "a: &a {<<: *a}\n",
        "set": "? a\n? b\n",
        "many": "---\n" + sound + "\n---\nb: 2\n",
        "escape": sound + '\nsurprise: "\\e[31mred"\n',
        "escape-key": sound + '\n"\\e[31mred": 1\n',
        "keys": sound + "\n? [a, b]\n: 1\n",
        "null": sound.replace("data:", "data: ~\nunused:"),
        "sixty": "seed: 1" + ":00" * 3000,
        "long": "a" * 3_000_000,
        "epochs-text": sound + "\nepochs: many\n",
        "model-list": sound + "\nmodel: [1]\n",
        "data-dict": "data: {a: 1}\n",
    }
    for name, text in texts.items():
        yield name, text.encode("utf-8", "surrogatepass")
    yield "utf16", sound.encode("utf-16")
    yield "nul", b"\0" * 500
    yield "noise", np.random.default_rng(1).bytes(3000)
    yield "latin", sound.encode() + b"\n# \xe9\xff\n"


def statuses(sound: dict[str, Any]) -> Iterator[Named]:
    """Yield ``status.json`` of runs that no job wrote."""
    for name, change in {
        "escape-host": {"host": "\x1b[2J\x1b]0;owned\x07"},
        "escape-state": {"message": "\x1b[31m\x07"},
        "warnings": {"warnings": ["\x1b[5m"] * 3},
        "pid-zero": {"pid": 0, "state": "running"},
        "pid-negative": {"pid": -1, "state": "running"},
        "pid-huge": {"pid": 10**30, "state": "running"},
        "pid-init": {"pid": 1, "state": "running"},
        "times": {"started": 1e300, "heartbeat": -1e300},
        "nan": {"loss": float("nan"), "epoch": float("inf")},
        "started-nan": {"started": float("nan")},
        "state": {"state": "surprised"},
        "none": {"host": None},
        "epochs": {"epochs": 10**40},
        "started-early": {"started": -1e12},
        "unknown": {"surprise": [1]},
        "newlines": {"host": "a\nb\nc"},
        "long": {"message": "m" * 3_000_000},
    }.items():
        yield name, json.dumps(sound | change).encode()
    yield "deep", b'{"state":' * 30_000
    yield "empty", b""
    yield "list", b"[]"
    yield "noise", b"\xff\xfe\xff"
    yield "digits", b'{"pid": ' + b"9" * 10_000 + b"}"


def tables(column: str) -> Iterator[Named]:
    """Yield CSV tables of labelled images with the columns ``file`` and `column`."""
    head = f"file,{column}\n"
    row = "images/{0},labels/{0}\n" if column == "mask" else "images/{0},tumour\n"
    rows = "".join(row.format(f"{name}.png") for name in "abcdef")
    texts = {
        "formula": head + "=cmd|' /C calc'!A0,@SUM(1)\n",
        "escape": head + "\x1b[31m.png,\x1b]0;x\x07\n",
        "parent": head + "../../../etc/passwd,../../x\n",
        "absolute": head + "/etc/passwd,/dev/zero\n",
        "device": head + "/dev/zero,/dev/urandom\n",
        "empty": "",
        "only-head": head,
        "no-columns": "a,b\n1,2\n",
        "uneven": head + "a\nb,c,d,e\n",
        "quote": head + '"a,b\n' + rows,
        "nul": head + "a\0b,c\n",
        "long-field": head + "x" * 2_000_000 + ",y\n",
        "columns": ",".join(f"c{n}" for n in range(30_000)) + "\n",
        "twice": head + rows + rows,
        "same-columns": f"file,file,{column}\na,b,c\n",
        "blank": "\n\n\n",
        "spaces": " , \n , \n",
        "sep": "sep=;\nfile;" + column + "\n",
        "tabs": head.replace(",", "\t"),
        "folder": head + "images,labels\n",
        "url": head + "http://localhost:1/a.png,b\n",
        "mpp": f"file,{column},mpp\na.png,b,nan\nc.png,d,1e999\n",
        "split": f"file,{column},split\na,b,nowhere\n",
        "nothing": head + ",\n,\n",
        "tilde": head + "~/a.png,~root/b.png\n",
        "wildcard": head + "*,?\n",
        "many": head + rows * 2000,
    }
    for name, text in texts.items():
        yield name, text.encode()
    yield "utf16", (head + rows).encode("utf-16")
    yield "noise", np.random.default_rng(2).bytes(3000)
    yield "latin", (head + "\xfc.png,\xe4\n").encode("latin-1")


def class_files() -> Iterator[Named]:
    """Yield ``classes.json``."""
    one = {"value": 1, "name": "gland", "colour": [1, 2, 3]}
    for name, change in {
        "value-text": {"value": "one"},
        "value-nan": {"value": float("nan")},
        "value-huge": {"value": 10**40},
        "value-negative": {"value": -5},
        "value-infinite": {"value": float("inf")},
        "value-list": {"value": [1]},
        "value-none": {"value": None},
        "name-none": {"name": None},
        "name-number": {"name": 5},
        "name-empty": {"name": ""},
        "name-escape": {"name": "\x1b[31m"},
        "name-formula": {"name": "=1+1"},
        "name-long": {"name": "x" * 100_000},
        "name-line": {"name": "a\nb"},
        "colour-short": {"colour": [1]},
        "colour-text": {"colour": "red"},
        "colour-big": {"colour": [999, 0, 0]},
        "colour-dict": {"colour": {"r": 1}},
        "colour-number": {"colour": 7},
    }.items():
        yield name, json.dumps({"classes": [one | change]}).encode()
    for name, value in {
        "list": [],
        "null": None,
        "number": 1,
        "text": "a",
        "dict": {},
        "classes-none": {"classes": None},
        "classes-dict": {"classes": {"a": 1}},
        "strings": ["a"],
        "numbers": [1],
        "twice": [one, one],
    }.items():
        yield name, json.dumps(value).encode()
    yield "deep", b'{"classes":' * 30_000
    yield "empty", b""
    yield "noise", b"\xff\xfe\xfd"


def geojson() -> Iterator[Named]:
    """Yield GeoJSON of outlines."""

    def feature(coordinates: Any, kind: str = "Polygon", **properties: Any) -> dict[str, Any]:
        return {"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates}, "properties": properties}

    square = [[[0, 0], [9, 0], [9, 9], [0, 9], [0, 0]]]
    shapes: dict[str, Any] = {
        "bow": [[[0, 0], [9, 9], [9, 0], [0, 9], [0, 0]]],
        "huge": [[[0, 0], [1e12, 0], [1e12, 1e12], [0, 0]]],
        "enormous": [[[0, 0], [1e300, 0], [1e300, 1e300], [0, 0]]],
        "far": [[[x + 4e9, y] for x, y in square[0]]],
        "nan": [[[float("nan"), 0], [9, 0], [9, 9], [0, 0]]],
        "infinite": [[[float("inf"), 0], [9, 0], [9, 9], [0, 0]]],
        "negative": [[[-x - 9, -y - 9] for x, y in square[0]]],
        "empty": [],
        "empty-ring": [[]],
        "point": [[[1, 1]]],
        "line": [[[0, 0], [5, 5], [0, 0]]],
        "text": [[["a", "b"]] * 4],
        "none": None,
        "number": 5,
        "three": [[[x, y, 1] for x, y in square[0]]],
        "one": [[[1], [2], [3], [1]]],
        "flat": [0, 0, 9, 9],
        "huge-int": [[[0, 0], [10**400, 0], [9, 9], [0, 0]]],
        "wide": [[[0, 0], [200_000, 0], [200_000, 200_000], [0, 200_000], [0, 0]]],
    }
    for name, shape in shapes.items():
        yield name, json.dumps({"type": "FeatureCollection", "features": [feature(shape)]}).encode()
    for kind in ("Point", "MultiPolygon", "LineString", "GeometryCollection", "Surprise", None, 5):
        yield f"kind-{kind}", json.dumps({"type": "FeatureCollection", "features": [feature(square, kind)]}).encode()  # type: ignore[arg-type]
    for name, properties in {
        "class-text": {"classification": "tumour"},
        "class-list": {"classification": [1]},
        "class-none": {"classification": {"name": None}},
        "class-escape": {"classification": {"name": "\x1b[31mred"}},
        "colour": {"classification": {"name": "a", "color": [1, 2]}},
        "colour-text": {"classification": {"name": "a", "color": "red"}},
        "colour-huge": {"classification": {"name": "a", "colorRGB": 10**30}},
        "measurements": {"measurements": {"a": "b", "c": None, "=1": 1e400}},
        "measurements-list": {"measurements": [1, None, {"name": 1}]},
    }.items():
        yield f"has-{name}", json.dumps([feature(square, **properties)]).encode()
    collection: Any = feature(square)["geometry"]
    for _ in range(300):
        collection = {"type": "GeometryCollection", "geometries": [collection]}
    yield "collections", json.dumps({"type": "Feature", "geometry": collection, "properties": {}}).encode()
    for name, value in {
        "null": None,
        "list": [],
        "text": "x",
        "dict": {},
        "features-none": {"type": "FeatureCollection", "features": None},
        "features-text": {"type": "FeatureCollection", "features": "x"},
        "features-numbers": {"type": "FeatureCollection", "features": [1]},
    }.items():
        yield name, json.dumps(value).encode()
    yield "deep", b"[" * 100_000
    yield "empty", b""
    yield "cut", json.dumps([feature(square)] * 100).encode()[:-50]
    yield "bomb.gz", gzip.compress(b"[" + b" " * 100_000_000)
    yield "cut.gz", gzip.compress(json.dumps([feature(square)] * 100).encode())[:50]
    yield "escape", json.dumps({"type": "\x1b[31m", "features": []}).encode()


def coco() -> Iterator[Named]:
    """Yield COCO JSON for pictures ``a.png`` of 48 px."""
    image = {"id": 1, "file_name": "images/a.png", "width": 48, "height": 48}
    note = {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "bbox": [1, 1, 9, 9],
        "area": 81,
        "iscrowd": 0,
        "segmentation": [[1, 1, 9, 1, 9, 9, 1, 9]],
    }
    kind = {"id": 1, "name": "nucleus"}

    def packed(images: Any = None, notes: Any = None, kinds: Any = None) -> bytes:
        return json.dumps({"images": images or [image], "annotations": notes or [note], "categories": kinds or [kind]}).encode()

    for name, change in {
        "box-nan": {"bbox": [float("nan")] * 4},
        "box-huge": {"bbox": [0, 0, 1e300, 1e300]},
        "box-negative": {"bbox": [5, 5, -4, -4]},
        "box-short": {"bbox": [1]},
        "box-text": {"bbox": "box"},
        "box-none": {"bbox": None},
        "category": {"category_id": 99},
        "category-list": {"category_id": [1]},
        "image": {"image_id": {}},
        "rle-huge": {"segmentation": {"size": [10**6, 10**6], "counts": [10**12]}},
        "rle-negative": {"segmentation": {"size": [48, 48], "counts": [-5, 10]}},
        "rle-text": {"segmentation": {"size": [48, 48], "counts": "zzzz\x7f"}},
        "rle-size": {"segmentation": {"size": "48", "counts": [2304]}},
        "rle-long": {"segmentation": {"size": [48, 48], "counts": [10**9]}},
        "segments-odd": {"segmentation": [[1, 2, 3]]},
        "segments-text": {"segmentation": "x"},
        "segments-huge": {"segmentation": [[0, 0, 1e300, 0, 1e300, 1e300]]},
        "area": {"area": "large"},
        "score": {"score": float("inf")},
        "crowd": {"iscrowd": "yes"},
    }.items():
        yield name, packed(notes=[note | change])
    for name, change in {
        "width-huge": {"width": 10**9, "height": 10**9},
        "width-negative": {"width": -1},
        "width-text": {"width": "w"},
        "width-zero": {"width": 0},
        "parent": {"file_name": "../../../../etc/passwd"},
        "absolute": {"file_name": "/dev/zero"},
        "file-none": {"file_name": None},
        "file-number": {"file_name": 5},
        "file-escape": {"file_name": "\x1b[31m.png"},
        "id-list": {"id": [1]},
    }.items():
        yield f"image-{name}", packed(images=[image | change])
    for name, change in {
        "none": {"name": None},
        "list": {"name": [1]},
        "id": {"id": "x"},
        "id-dict": {"id": {}},
        "escape": {"name": "\x1b[31m"},
    }.items():
        yield f"kind-{name}", packed(kinds=[kind | change])
    yield "numbers", packed(images=[1], notes=[2], kinds=[3])
    yield "twice", packed(images=[image, image], kinds=[kind, kind])
    yield "deep", b'{"images":' * 30_000
    yield "list", b"[1]"


def outlines() -> Iterator[Named]:
    """Yield XML of Aperio ImageScope."""
    laughs = (
        "<!DOCTYPE a [<!ENTITY a '"
        + "x" * 100
        + "'>"
        + "".join(f"<!ENTITY {new} '{('&' + old + ';') * 10}'>" for old, new in zip("abcdefgh", "bcdefghi", strict=True))
        + "]>"
    )
    region = "<Annotations><Annotation><Regions><Region><Vertices>{}</Vertices></Region></Regions></Annotation></Annotations>"
    vertex = '<Vertex X="{}" Y="{}"/>'
    for name, text in {
        "laughs": laughs + "<Annotations>&i;</Annotations>",
        "entity": "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><Annotations>&b;</Annotations>",
        "deep": "<Annotations>" + "<a>" * 50_000,
        "deep-closed": "<Annotations>" + "<a>" * 50_000 + "</a>" * 50_000 + "</Annotations>",
        "root": "<Other/>",
        "empty": "",
        "nan": region.format(vertex.format("nan", "nan") * 4),
        "huge": region.format("".join(vertex.format(x, y) for x, y in ((0, 0), (1e300, 0), (1e300, 1e300)))),
        "infinite": region.format(vertex.format("inf", "-inf") * 4),
        "text": region.format(vertex.format("a", "b") * 4),
        "no-y": region.format('<Vertex X="1"/>' * 4),
        "wide": region.format("".join(vertex.format(x, y) for x, y in ((0, 0), (1e9, 0), (1e9, 1e9), (0, 1e9)))),
        "cut": region[:60],
    }.items():
        yield name, text.encode()
    yield "noise", b"\xff\xfe<\0a\0"
