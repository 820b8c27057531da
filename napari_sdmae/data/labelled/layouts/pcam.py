"""PatchCamelyon as published, all tiles of a part in one HDF5 file, unpacked to the folder of images that all commands read.

Beside the folders ``train``, ``validation`` and ``test``, each with one folder for each class, ``slides.csv`` tells which slide
each tile is from, where the published tables of the slides are there.

Reading the HDF5 files in place would need a second kind of "image" in the cache, the labelled sets, the viewer and every
message that names a file; PNG is lossless and takes about 6.4 GB. No scale is written: a tile of unknown scale is shown whole
to any model, which is what PCam's label asks for. GlaS is used in its published split; ``Grade.csv`` is not read.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from napari_sdmae.config.finetune import Part
from napari_sdmae.data.image_folder import DataError
from napari_sdmae.data.tiles.cache import Progress
from napari_sdmae.data.tiles.decode import THREADS
from napari_sdmae.io.atomic import atomic_path, check_free
from napari_sdmae.text.documents import DocumentError, read_table
from napari_sdmae.text.tables import table_bytes

if TYPE_CHECKING:
    from types import ModuleType

NAME = "camelyonpatch_level_2_split_{part}_{what}"
PARTS: dict[str, Part] = {"train": "train", "valid": "validation", "test": "test"}
"""PCam's names of the parts, and the folders they become."""
CLASSES = ("normal", "tumour")
"""What the labels 0 and 1 become: whether the middle 32 px show tumour."""
EDGE = 96
AT_ONCE = 2048
"""Tiles read at once: 57 MB."""
SLIDES = "slides.csv"


@dataclass(frozen=True)
class Published:
    """The files of one part: images, labels, and which slide each is from (None if that file is not there)."""

    part: Part
    images: Path
    labels: Path
    slides: Path | None


def unpack(source: Path, output: Path) -> Iterator[Progress]:
    """Write each tile as PNG, ``PART/CLASS/NUMBER.png``, in its original pixels; the folder appears when all is written.

    Parameters
    ----------
    source
        Folder with the files as published, unzipped.
    output
        New folder, or an empty one.

    Raises
    ------
    DataError
        If files are missing, damaged, or do not belong together.
    FileExistsError
        If there is something in `output`.
    ValueError
        If the package h5py is not installed.
    """
    hdf5 = _hdf5()
    check_free(output, False, folder=True)
    splits = find_published(source)
    with ExitStack() as files:
        opened = [(split, *_open(hdf5, split, files)) for split in splits]
        total = sum(len(images) for _, images, _ in opened)
        growing = files.enter_context(atomic_path(output, folder=True, flush=False))
        done, slides = 0, []
        for split, images, labels in opened:
            names = [f"{split.part}/{CLASSES[label]}/{number:06d}.png" for number, label in enumerate(labels)]
            if split.slides is not None:
                slides.append(pd.DataFrame({"file": names, "slide": _slides(split.slides, len(names))}))
            for first in _write(images, names, growing):
                yield Progress(done + first, total, f"unpacking {split.part}")
            done += len(names)
        if slides:
            (growing / SLIDES).write_bytes(table_bytes(pd.concat(slides)))
    yield Progress(total, total, "unpacked")


def find_published(source: Path) -> list[Published]:
    """Return the parts of which images and labels are in the folder `source`.

    Raises
    ------
    DataError
        If there is none, or images or labels without the other.
    """
    found = []
    for word, part in PARTS.items():
        images, labels = (source / f"{NAME.format(part=word, what=what)}.h5" for what in "xy")
        slides = source / f"{NAME.format(part=word, what='meta')}.csv"
        if images.exists() != labels.exists():
            missing = labels if images.exists() else images
            raise DataError(f"{missing.name} is missing in {source}: images (x) and labels (y) are both needed")
        if images.exists():
            found.append(Published(part, images, labels, slides if slides.exists() else None))
    if not found:
        packed = any(source.glob(f"{NAME.format(part='*', what='x')}.h5.gz"))
        remedy = "unzip them first (gunzip *.gz)" if packed else "give the folder of the files as published"
        raise DataError(f"no {NAME.format(part='train', what='x')}.h5 or other part in {source}: {remedy}")
    return found


def _hdf5() -> ModuleType:
    try:
        import h5py
    except ImportError:
        raise ValueError("HDF5 needs the package h5py: pip install 'napari-sdmae[pcam]'") from None
    return h5py  # type: ignore[no-any-return]


def _open(hdf5: ModuleType, split: Published, files: ExitStack) -> tuple[Any, NDArray[np.int64]]:
    """Return the images of a part, read when they are asked for, and its labels, (N,)."""
    images, labels = (_dataset(hdf5, path, key, files) for path, key in ((split.images, "x"), (split.labels, "y")))
    if images.shape[1:] != (EDGE, EDGE, 3) or images.dtype != np.uint8:
        raise DataError(f"{split.images.name} holds {images.dtype} {images.shape}: expected uint8 (N, {EDGE}, {EDGE}, 3)")
    values = np.asarray(labels).reshape(-1).astype(np.int64)
    if len(values) != len(images) or not np.isin(values, (0, 1)).all():
        raise DataError(f"{split.labels.name} holds {len(values)} labels for {len(images)} images: expected 0 or 1 for each")
    return images, values


def _dataset(hdf5: ModuleType, path: Path, key: str, files: ExitStack) -> Any:
    try:
        return files.enter_context(hdf5.File(path, "r"))[key]
    except (OSError, KeyError) as error:
        reason = f"there is no {key!r} in it" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{path.name} cannot be read ({reason}): get it again") from error


def _slides(path: Path, count: int) -> list[str]:
    """Return the slide of each tile."""
    try:
        slides = [row["wsi"] for row in read_table(path).rows]
    except (DocumentError, KeyError, OSError) as error:
        raise DataError(
            f"{path.name} cannot be read ({error}): expected the column wsi; or do without, and take it away"
        ) from error
    if len(slides) != count:
        raise DataError(f"{path.name} tells the slides of {len(slides)} tiles, there are {count}: get it again, or take it away")
    return slides


def _write(images: Any, names: list[str], folder: Path) -> Iterator[int]:
    """Write `images` as `names` in `folder`; yield how many are written."""
    for name in {name.rpartition("/")[0] for name in names}:
        (folder / name).mkdir(parents=True, exist_ok=True)
    save = partial(_save, folder)
    with ThreadPoolExecutor(THREADS, thread_name_prefix="unpack") as pool:
        for first in range(0, len(names), AT_ONCE):
            chunk = names[first : first + AT_ONCE]
            list(pool.map(save, chunk, images[first : first + AT_ONCE]))
            yield first + len(chunk)


def _save(folder: Path, name: str, pixels: NDArray[np.uint8]) -> None:
    buffer = io.BytesIO()  # Pillow's own files tell no reason when a disk is full
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    (folder / name).write_bytes(buffer.getvalue())
