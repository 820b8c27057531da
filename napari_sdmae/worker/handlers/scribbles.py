"""Labels from strokes, and the head folder that draws the same labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import numpy as np

from napari_sdmae.devices.select import select_device
from napari_sdmae.inference.scribbles import classifier
from napari_sdmae.inference.scribbles.enlarged import enlarge, on_the_field, read_whole
from napari_sdmae.inference.scribbles.samples import Samples, ScribbleHead
from napari_sdmae.inference.scribbles.save import save_scribble_head
from napari_sdmae.io.images.field import as_rgb
from napari_sdmae.io.model_info.info import model_info
from napari_sdmae.labels.label_map import LabelMap
from napari_sdmae.notices import SCRIBBLES, scale_notes
from napari_sdmae.worker.cache import MODEL_CACHE
from napari_sdmae.worker.protocol.scribbles import SaveScribblesRequest, ScribbleRequest, ScribbleResult

FEW = 2
"""Strokes of a class below which it is said that there are too few: the agreement cannot be told."""


def scribble(request: ScribbleRequest) -> ScribbleResult:
    """Return the class of every pixel of a field, learned from painted pixels.

    Raises
    ------
    ValueError
        If fewer than two classes are painted, or the detail cannot be had.
    """
    start, detail, mpp = perf_counter(), request.detail, request.mpp
    field, info, device = as_rgb(request.image), model_info(request.model), select_device(request.device).device
    seen = enlarge(field, detail, mpp)
    MODEL_CACHE.encoder(info, device)
    loaded = perf_counter()
    tokens, cached = MODEL_CACHE.windows(info, device, field, detail, lambda: read_whole(seen))
    encoded = perf_counter()
    here = classifier.sample(tokens, (request.positions + 0.5) * detail - 0.5, request.values, request.strokes)
    samples = Samples.join([here, *request.more])
    painted = tuple(sorted((one for one in request.classes if one.value in samples.values), key=lambda one: one.value))
    known = [one.value for one in painted]
    _check_painted(samples, known, [one.name for one in request.classes])
    samples = samples.where(np.isin(samples.values, known))
    few = samples.where(classifier.evenly(samples.values, classifier.MOST_PER_CLASS))
    classify, head = classifier.classifier(few, known, request.method)
    fitted = perf_counter()
    shares = on_the_field(classifier.blend(tokens, classify), seen)
    labels = np.asarray(known, np.int32)[shares.argmax(0)]
    drawn = perf_counter()
    agreement = classifier.agreement(samples, known, request.method)
    counts = {one.value: len(np.unique(samples.strokes[samples.values == one.value])) for one in request.classes}
    return ScribbleResult(
        label_map=LabelMap(labels, painted, mpp=mpp),
        probabilities=np.rint(shares * 255).astype(np.uint8) if request.probabilities else None,
        channels=tuple(known),
        samples=here,
        head=None if head is None else ScribbleHead(head, tuple(known), mpp / detail if mpp else None),
        method=request.method,
        detail=detail,
        agreement=agreement,
        counts=counts,
        few=tuple(value for value, count in counts.items() if count < FEW),
        cached=cached,
        model=info,
        note=SCRIBBLES,
        warnings=tuple(scale_notes(info.mpp, mpp and mpp / detail, "choose finer detail" if detail == 1 else "")),
        seconds={
            "load": loaded - start,
            "encode": encoded - loaded,
            "fit": fitted - encoded,
            "map": drawn - fitted,
            "agreement": perf_counter() - drawn,
        },
    )


def save_scribbles(request: SaveScribblesRequest) -> Path:
    """Write a head folder that segments as the strokes did; see :mod:`napari_sdmae.inference.scribbles.save`."""
    provenance = {
        "source": request.source,
        "strokes": {str(value): count for value, count in request.strokes.items()},
        "agreement": {str(value): share for value, share in request.agreement.items()},
    }
    save_scribble_head(request.folder, request.model, request.head, request.classes, provenance)
    return request.folder


def _check_painted(samples: Samples, known: Sequence[int], names: Sequence[str]) -> None:
    if len(known) < 2:
        what = "only one class" if known else "nothing"
        raise ValueError(f"{what} is painted here; paint a stroke of at least two of {', '.join(names)}")
