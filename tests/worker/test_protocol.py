"""The rules of the protocol: every request has a handler of its types, holds no loose dictionary, and survives the way."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest

from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.config.head import HeadSpec
from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.data.image_folder import DataError
from napari_sdmae.data.labelled.corrections import AlreadySavedError
from napari_sdmae.inference.scribbles.samples import LinearHead, Samples, ScribbleHead
from napari_sdmae.labels.label_map import LabelMap, make_classes
from napari_sdmae.worker import protocol
from napari_sdmae.worker.protocol import HANDLERS, ErrorCode, Request, WorkerError
from napari_sdmae.worker.protocol.dispatch import ROOM

CLASSES = make_classes(["a", "b"], 1)
PICTURE = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)
LABELS = LabelMap(np.eye(64, dtype=np.int32), CLASSES, True, {1: 2}, 0.5, (3.5, 4.0), 2.0, "x.tif", None, {"label": np.arange(3)})
INDICES = np.arange(2)
SAMPLES = Samples(np.ones((2, 3), np.float32), INDICES, INDICES, INDICES)
HEAD = ScribbleHead(LinearHead(np.ones((2, 3), np.float32), np.zeros(2, np.float32)), (1, 2), 0.5)
PRETRAIN, FINETUNE = PretrainConfig(data="x"), FinetuneConfig(task="segmentation", data="x", model="m")
REQUESTS: list[Request[Any]] = [
    protocol.AttentionRequest("m", PICTURE, query=(1.0, 2.0)),
    protocol.ContactSheetRequest(PRETRAIN, 8),
    protocol.DevicesRequest(),
    protocol.ExportRequest(LABELS, Path("a.geojson"), "geojson", bounds="slide.svs"),
    protocol.ImportRequest(Path("a.geojson")),
    protocol.InspectLabelledRequest(FINETUNE),
    protocol.InspectRequest(PRETRAIN),
    protocol.MeasureRequest(LABELS, PICTURE),
    protocol.ReconstructRequest("m", PICTURE, seed=4),
    protocol.SaveCorrectionsRequest(LABELS, PICTURE, Path("folder"), "name", CLASSES),
    protocol.SaveScribblesRequest(Path("folder"), "m", HEAD, CLASSES, strokes={1: 2}),
    protocol.ScribbleRequest("m", PICTURE, np.zeros((2, 2), np.float32), INDICES, INDICES, CLASSES, (SAMPLES,)),
    protocol.SegmentRequest("h", PICTURE, mpp=0.5),
    protocol.TrainingMemoryRequest(PRETRAIN),
]


def result_of(request: type[Request[Any]]) -> Any:
    """Return the type that a request names as that of its result."""
    (base,) = request.__orig_bases__  # type: ignore[attr-defined]
    return get_args(base)[0]


def values(one: Any) -> Any:
    """Return the fields of a dataclass, of those in it as well; anything else as it is."""
    if isinstance(one, tuple):
        return tuple(map(values, one))
    return {field.name: values(getattr(one, field.name)) for field in fields(one)} if is_dataclass(one) else one


def test_every_request_has_a_handler_of_its_types() -> None:
    named = {one for one in vars(protocol).values() if isinstance(one, type) and issubclass(one, Request) and one is not Request}
    assert set(HANDLERS) == named == {type(request) for request in REQUESTS}
    for request, place in HANDLERS.items():
        hints = get_type_hints(resolve_name(f"{ROOM}.{place}"))
        assert hints == {"request": request, "return": result_of(request)}, place


def loose(hint: Any) -> bool:
    """Return whether a type is, or has in it, Any or object."""
    return hint is Any or hint is object or any(loose(part) for part in get_args(hint) if part is not Ellipsis)


def test_no_field_is_a_loose_dictionary() -> None:
    """What is in it would be known to nobody: mypy could not see the other end."""
    ends = [*HANDLERS, *map(result_of, HANDLERS)]
    own = [one for one in ends if is_dataclass(one) and one.__module__.startswith("napari_sdmae.worker")]
    assert {"SegmentResult", "ScribbleResult", "DevicesResult"} <= {one.__name__ for one in own}
    for end in own:
        assert end.__dataclass_params__.frozen  # type: ignore[attr-defined]
        arrays_aside = {name: hint for name, hint in get_type_hints(end).items() if "ndarray" not in str(hint)}
        assert [name for name, hint in arrays_aside.items() if loose(hint)] == [], end
    assert loose(dict[str, Any] | None)


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda one: type(one).__name__)
def test_requests_survive_the_way(request_: Request[Any]) -> None:
    back = pickle.loads(pickle.dumps(request_))
    assert type(back) is type(request_)
    np.testing.assert_equal(values(back), values(request_))


def test_label_maps_survive_the_way_from_a_file_as_well(tmp_path: Path) -> None:
    """A large result lies in a temporary file until it is sent."""
    kept = np.memmap(tmp_path / "labels", np.int32, "w+", shape=(3, 4))
    kept[:] = np.arange(12).reshape(3, 4)
    whole = replace(LABELS, labels=kept, nuclei=kept // 2)
    np.testing.assert_equal(values(pickle.loads(pickle.dumps(whole))), values(whole))


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ValueError("tile size 30 px\nis not a multiple of 16"), ErrorCode.INVALID, "tile size 30 px is not a multiple of 16"),
        (FileNotFoundError("no model in /runs/a"), ErrorCode.INVALID, "no model in /runs/a"),
        (FileExistsError("/a exists"), ErrorCode.INVALID, "/a exists"),
        (
            AlreadySavedError("/a and its labels are saved already"),
            ErrorCode.ALREADY_SAVED,
            "/a and its labels are saved already",
        ),
        (DataError("no image in /a"), ErrorCode.UNUSABLE_DATA, "no image in /a"),
        (MemoryError(), ErrorCode.OUT_OF_MEMORY, "this machine has not enough free memory"),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA"), ErrorCode.OUT_OF_MEMORY, "the GPU has not enough free memory"),
        (ValueError(), ErrorCode.UNEXPECTED, "ValueError"),
        (KeyError("depth"), ErrorCode.UNEXPECTED, "KeyError: 'depth'"),
    ],
)
def test_an_error_carries_its_code_over_the_way(error: Exception, code: ErrorCode, line: str) -> None:
    back = pickle.loads(pickle.dumps(WorkerError.of(error)))
    assert isinstance(back, WorkerError)
    assert back.code is code
    assert str(back).startswith(line)
    assert "\n" not in str(back)
    assert type(error).__name__ in back.details


def test_the_fields_of_a_wrong_setting_are_named() -> None:
    with pytest.raises(ValueError, match="mpp") as caught:
        HeadSpec.model_validate({"mpp": "fast"})
    assert "mpp: " in WorkerError.of(caught.value).line


def test_the_viewer_makes_requests_and_takes_results_without_torch() -> None:
    code = (
        "import sys, json; import napari_sdmae.worker.protocol, napari_sdmae.worker.handlers.segment; "
        "import napari_sdmae.worker.handlers.preflight, napari_sdmae.worker.handlers.labels; "
        "print(json.dumps([name for name in ('torch', 'timm', 'qtpy', 'napari') if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
