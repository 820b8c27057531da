"""The answers of the warm worker about strokes: the map they lead to, and a head folder that draws the same map.

As in :mod:`napari_sdmae.worker.handlers.views`, questions and answers hold plain values and NumPy arrays only.
"""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_sdmae.config.finetune import EncoderConfig, FinetuneConfig, HeadConfig
from napari_sdmae.devices.select import select_device
from napari_sdmae.inference.prediction.rescale import Seen, label_grids, linear
from napari_sdmae.inference.scribbles import classifier
from napari_sdmae.inference.scribbles.classifier import Samples
from napari_sdmae.io.atomic import atomic_path, check_free
from napari_sdmae.io.checkpoints.head_folder import save_head
from napari_sdmae.io.checkpoints.new_head import new_head
from napari_sdmae.io.images.field import RGB, as_rgb, check_size_of
from napari_sdmae.io.images.pictures import ArrayPicture
from napari_sdmae.io.model_info.info import ModelInfo, fingerprint, model_info
from napari_sdmae.labels.label_map import LabelClass, LabelMap
from napari_sdmae.labels.serialization import label_map_to_answer
from napari_sdmae.notices import SCRIBBLES, scale_notes
from napari_sdmae.worker.cache import MEMORY

Answer = dict[str, Any]
Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


FEW = 2
"""Strokes of a class below which it is said that there are too few: the agreement cannot be told."""


def scribble(
    model: str,
    image: NDArray[np.uint8],
    positions: Floats,
    values: Integers,
    strokes: Integers,
    classes: list[dict[str, Any]],
    more: list[dict[str, Any]] | None = None,
    method: str = "linear",
    detail: int = 1,
    mpp: float | None = None,
    probabilities: bool = False,
    agreement: bool = True,
    device: str = "auto",
) -> Answer:
    """Return the class of every pixel of a field, learned from painted pixels.

    Parameters
    ----------
    model
        Any model with an encoder.
    image
        The field, uint8 (H, W, 3).
    positions, values, strokes
        Painted pixels of the field: (row, column) (N, 2) in field pixels, class value and number of the stroke of each.
    classes
        ``value``, ``name`` and ``colour`` of each class; those of which nothing is painted are left out of the answer.
    more
        ``samples`` of earlier answers about other fields, that are learned from too.
    method
        ``linear`` or ``knn``.
    detail
        How many times the picture is enlarged for the encoder: patches then cover less tissue.
    mpp
        µm per pixel of the field; None if unknown.
    probabilities
        Whether they are sent too: uint8 (C, rows, columns), 255 = 1, with the class values of the C as ``channels``.
    agreement
        Whether the strokes are compared with what others say about them.

    Returns
    -------
    dict
        The label map (``label_map_from_answer`` makes it), ``probabilities``, ``channels``; ``samples`` of this field, to be
        sent as `more` with questions about other fields; ``head`` (weight, bias, values, mpp), None for knn; ``agreement`` per
        class value (:func:`~napari_sdmae.inference.scribbles.classifier.agreement`); ``counts`` of strokes, and
        ``few``: the values with too few; ``cached``, ``seconds``, ``model``, ``note``, ``warnings``.

    Raises
    ------
    ValueError
        If fewer than two classes are painted, or `detail` cannot be had.
    """
    start = perf_counter()
    field, info, place = as_rgb(np.asarray(image)), model_info(model), select_device(device).device
    seen = _enlarged(field, detail, mpp)
    MEMORY.encoder(info, place)
    loaded = perf_counter()
    tokens, cached = MEMORY.windows(info, place, field, detail, lambda: _read(seen))
    encoded = perf_counter()
    here = classifier.sample(tokens, (np.asarray(positions, np.float32) + 0.5) * detail - 0.5, values, strokes)
    samples = Samples.join([here, *(Samples(**one) for one in more or [])])
    painted = [LabelClass.model_validate(one) for one in classes if one["value"] in samples.values]
    known = sorted(one.value for one in painted)
    _check_painted(samples, known, [str(one["name"]) for one in classes])
    samples = samples.where(np.isin(samples.values, known))
    few = samples.where(classifier.evenly(samples.values, classifier.MOST_PER_CLASS))
    classify, head = classifier.classifier(few, known, method)
    fitted = perf_counter()
    shares = _on_the_field(classifier.blend(tokens, classify), seen)
    labels = np.asarray(known, np.int32)[shares.argmax(0)]
    drawn = perf_counter()
    told = classifier.agreement(samples, known, method) if agreement else {}
    counts = {int(value): len(np.unique(samples.strokes[samples.values == value])) for value in (one["value"] for one in classes)}
    ordered = tuple(sorted(painted, key=lambda one: one.value))
    return {
        **label_map_to_answer(LabelMap(labels, ordered, mpp=mpp)),
        "probabilities": np.rint(shares * 255).astype(np.uint8) if probabilities else None,
        "channels": known,
        "samples": dict(vars(here)),
        "head": None if head is None else {**vars(head), "values": known, "mpp": mpp / detail if mpp else None},
        "method": method,
        "detail": detail,
        "agreement": told,
        "counts": counts,
        "few": [value for value, count in counts.items() if count < FEW],
        "cached": cached,
        "model": _described(info),
        "note": SCRIBBLES,
        "warnings": scale_notes(info.mpp, mpp and mpp / detail),
        "seconds": {
            "load": loaded - start,
            "encode": encoded - loaded,
            "fit": fitted - encoded,
            "map": drawn - fitted,
            "agreement": perf_counter() - drawn,
        },
    }


def save_scribbles(
    folder: str,
    model: str,
    head: dict[str, Any],
    classes: list[dict[str, Any]],
    provenance: dict[str, Any] | None = None,
    device: str = "auto",
) -> Answer:
    """Write a head folder that segments as the strokes did: encoder, linear decoder, classes, scale.

    Parameters
    ----------
    folder
        Must not exist, or be empty.
    model
        The model whose tokens the head was fitted to.
    head
        Of an answer of :func:`scribble`.
    classes
        ``value``, ``name`` and ``colour`` of the head's classes.
    provenance
        What is kept beside it: source, strokes, agreement.

    Raises
    ------
    FileExistsError
        If the folder is not empty.
    ValueError
        If model and head do not fit.
    """
    target = Path(folder)
    check_free(target, overwrite=False, folder=True)
    chosen = {one["value"]: LabelClass.model_validate(one) for one in classes}
    named = tuple(chosen[value] for value in head["values"])
    settings = FinetuneConfig(
        task="segmentation",
        data=target,
        model=model,
        encoder=EncoderConfig(train="frozen", drop_path=0.0),
        head=HeadConfig(decoder="linear"),
    )
    made = new_head(settings, named)
    weight = torch.from_numpy(np.array(head["weight"], np.float32))[:, :, None, None]
    if weight.shape != made.head.classifier.weight.shape:  # type: ignore[union-attr]
        raise ValueError(f"the head has {weight.shape[1]} weights per class, which is not the width of {model}; segment again")
    with torch.no_grad():
        made.head.classifier.weight.copy_(weight)  # type: ignore[union-attr, operator]
        made.head.classifier.bias.copy_(torch.from_numpy(np.array(head["bias"], np.float32)))  # type: ignore[union-attr, operator]
    made.spec = made.spec.model_copy(
        update={"mpp": head["mpp"], "provenance": {**made.spec.provenance, "made_by": "scribbles", **(provenance or {})}}
    )
    with atomic_path(target, folder=True) as temporary:
        save_head(temporary, made)
    return {"folder": str(target)}


def _enlarged(field: RGB, detail: int, mpp: float | None) -> Seen:
    """Return the field as the encoder sees it.

    Raises
    ------
    ValueError
        If it cannot be seen so.
    """
    if detail < 1:
        raise ValueError(f"detail {detail}: expected a whole number from 1")
    if detail > 1 and mpp is None:
        raise ValueError(
            "finer detail needs a picture of known scale, so that a saved head sees it alike: set the layer's scale in µm"
        )
    check_size_of(field.shape[0] * detail, field.shape[1] * detail)
    return Seen(ArrayPicture(field, mpp), field.shape[0] * detail, field.shape[1] * detail)


def _read(seen: Seen) -> RGB:
    return seen.read(0, 0, seen.rows, seen.columns)


def _on_the_field(shares: Floats, seen: Seen) -> Floats:
    """Return probabilities (C, h, w) of what was seen on the pixels of the field, as prediction with a head puts them there."""
    if (seen.rows, seen.columns) == (seen.picture.height, seen.picture.width):
        return shares
    rows, columns = label_grids(seen, 1)
    return linear(shares, rows.positions(0, rows.length), columns.positions(0, columns.length))


def _check_painted(samples: Samples, known: list[int], names: list[str]) -> None:
    if len(known) < 2:
        what = "only one class" if known else "nothing"
        raise ValueError(f"{what} is painted here; paint a stroke of at least two of {', '.join(names)}")


def _described(info: ModelInfo) -> Answer:
    return {"name": info.name, "folder": str(info.folder), "modified": fingerprint(info.folder), "patch_size": info.patch_size}
