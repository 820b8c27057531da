"""Images beside their label images: ``images/`` with ``masks/`` or ``labels/`` and ``types/``, paired by name. No torch.

Annotations (GeoJSON) may lie in any of these folders, or without such folders beside their images, for every task.

No two images share a label image, and none is chosen among several: what has no partner of its own is named.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from napari_sdmae.config.finetune import Task
from napari_sdmae.data.image_folder import SourceFile
from napari_sdmae.data.labelled.annotations import are_annotations
from napari_sdmae.data.labelled.label_images import LABEL_SUFFIXES
from napari_sdmae.data.labelled.labelled_set import ImageEntry, LayoutListing
from napari_sdmae.data.labelled.parts import part_in
from napari_sdmae.humanize import several
from napari_sdmae.io.images.read import IMAGE_SUFFIXES
from napari_sdmae.text.spelling import ByName, near, one_form

IMAGES, MASKS, LABELS, TYPES = "images", "masks", "labels", "types"
ANNOTATIONS = "annotations"
ROLES = (IMAGES, MASKS, LABELS, TYPES, ANNOTATIONS)
ENDING = re.compile(r"[-_. ](masks?|labels?|seg|segmentation|gt|anno|annotations?|instances?|types?)$", re.IGNORECASE)
"""What programs add to the name of an image to call its label image."""

BESIDE = {".json", ".csv", ".tsv", ".txt", ".md", ".db", ".ini"}
"""Ends of files that are no pictures and may lie beside them."""


@dataclass(frozen=True)
class Placed:
    """A file below a folder whose name says what it is; `key` is what it shares with its partners: other folders and stem."""

    role: str
    key: str
    file: SourceFile

    @property
    def suffix(self) -> str:
        """End of the name, in small letters."""
        return self.file.path.suffix.lower()

    @property
    def is_label_image(self) -> bool:
        """Whether it can be the labels of an image."""
        return self.role == ANNOTATIONS if are_annotations(self.file.path) else self.suffix in LABEL_SUFFIXES


def list_pairs(files: Iterable[SourceFile], task: Task) -> LayoutListing:
    """List images with their label images by the folders they lie in; nothing if there is no folder of images.

    Parameters
    ----------
    files
        All files below the data, of whatever kind.
    task
        Where there are both, segmentation reads ``masks`` and instances ``labels``.
    """
    files = list(files)
    placed = [found for file in files if (found := _placed(file))]
    if not any(one.role == IMAGES for one in placed) and any(are_annotations(file.path) for file in files):
        placed = [_beside(file) for file in files if are_annotations(file.path) or file.path.suffix.lower() in IMAGE_SUFFIXES]
    images = [one for one in placed if one.role == IMAGES and one.suffix in IMAGE_SUFFIXES]
    if not images:
        return LayoutListing([])
    labels, other = _labels_of_task(placed, task)
    masks, types = _Partners(labels, images), _Partners([one for one in placed if one.role == TYPES], images)
    items = _refuse_shared([_item(one, masks, types) for one in images])
    said = [unpaired(masks.left_by(items, "labels")), other, _unread(placed, files)]
    return LayoutListing(sorted(items, key=lambda item: item.name), warnings=[one for one in said if one])


def _placed(file: SourceFile) -> Placed | None:
    *folders, name = PurePosixPath(file.name).parts
    for index, folder in enumerate(folders):
        if folder.lower() in ROLES:
            key = "/".join((*folders[:index], *folders[index + 1 :], _stem(name)))
            return Placed(ANNOTATIONS if are_annotations(file.path) else folder.lower(), key, file)
    return None


def _beside(file: SourceFile) -> Placed:
    """Return an image or its annotations, which lie in one folder."""
    path = PurePosixPath(file.name)
    return Placed(ANNOTATIONS if are_annotations(file.path) else IMAGES, str(path.with_name(_stem(path.name))), file)


def _stem(name: str) -> str:
    """Return a name without its end; QuPath's annotations may be called like their image, end included."""
    path = PurePosixPath(name)
    if not are_annotations(Path(name)):
        return path.stem
    inner = PurePosixPath(name[: name.lower().rindex(".geojson")])
    return inner.stem if inner.suffix.lower() in IMAGE_SUFFIXES else inner.name


def _labels_of_task(placed: Sequence[Placed], task: Task) -> tuple[list[Placed], str]:
    """Return the label images of a task, and what to say of those in a second folder."""
    by_role = {role: [one for one in placed if one.role == role] for role in (MASKS, LABELS, ANNOTATIONS)}
    wanted, other = (LABELS, MASKS) if task == "instances" else (MASKS, LABELS)
    if not by_role[wanted] or not by_role[other]:
        return [*by_role[wanted], *by_role[other], *by_role[ANNOTATIONS]], ""
    unread = f"{len(by_role[other])} files in {other} are not read: for {task} those in {wanted} are"
    return [*by_role[wanted], *by_role[ANNOTATIONS]], unread


class _Partners:
    """Label images by what they share with their images."""

    def __init__(self, placed: Sequence[Placed], images: Sequence[Placed]) -> None:
        usable = [one for one in placed if one.is_label_image]
        self._all = placed
        self._named = ByName((one.key, one) for one in usable)
        self._ended = ByName((ENDING.sub("", one.key), one) for one in usable if ENDING.search(one.key))
        self._lossy = ByName((one.key, one) for one in placed if one.suffix in (".jpg", ".jpeg"))
        self._alike = Counter(near(one.key) for one in images)

    def find(self, image: Placed) -> tuple[Placed | None, str]:
        """Return the label image of an image, or None and why there is none; no word where nothing is called alike."""
        found = self._named.all(image.key) or self._ended.all(image.key)
        if len(found) > 1 and len(found) == self._alike[near(image.key)]:
            found = [one for one in found if one.suffix == image.suffix]
        if len(found) == 1:
            return found[0], ""
        if found:
            return None, f"{len(found)} label images are called alike ({_names(found)}): leave one for each image"
        lossy = self._lossy.find(image.key)
        return None, f"{one_form(lossy.file.name)} is a JPEG, which changes values: save masks as PNG or TIFF" if lossy else ""

    def left_by(self, items: Sequence[ImageEntry], what: str) -> list[str]:
        """Return the names of the label images that none of `items` has."""
        used = {getattr(item, what) for item in items}
        return [one_form(one.file.name) for one in self._all if one.is_label_image and one.file.path not in used]


def _item(image: Placed, masks: _Partners, types: _Partners) -> ImageEntry:
    mask, problem = masks.find(image)
    kinds, unclear = types.find(image)
    if not mask and not problem:
        name = one_form(PurePosixPath(image.key).name)
        problem = f"no label image {name}.png or .tif, and no annotations {name}.geojson, in the folder masks or labels"
    return ImageEntry(
        image.file.path,
        one_form(image.file.name),
        part_in(PurePosixPath(image.key).parts[:-1]),
        labels=mask.file.path if mask else None,
        types=kinds.file.path if kinds else None,
        problem=problem or unclear,
    )


def _refuse_shared(items: Sequence[ImageEntry]) -> list[ImageEntry]:
    """Return `items`, where several would share a label image with this as their problem: it is not known whose it is."""
    owners = defaultdict(list)
    for item in items:
        if item.labels is not None:
            owners[item.labels].append(item.name)
    shared = {path: names for path, names in owners.items() if len(names) > 1}
    return [
        replace(item, problem=f"{' and '.join(shared[item.labels])} are called alike, and there is one label image: rename one")
        if item.labels in shared
        else item
        for item in items
    ]


def _names(placed: Sequence[Placed]) -> str:
    return ", ".join(one_form(one.file.name) for one in placed[:3])


def unpaired(names: Sequence[str]) -> str:
    """Return what to say of label images without an image; empty if there are none."""
    if not names:
        return ""
    images = several(len(names), "label image", "label images")
    return f"left out, without an image of the same name: {images}, such as {names[0]}"


def _unread(placed: Sequence[Placed], files: Sequence[SourceFile]) -> str:
    """Return what to say of files of no kind that is read among images and labels, and of pictures elsewhere."""
    known = IMAGE_SUFFIXES | LABEL_SUFFIXES | BESIDE
    strange = [one.file for one in placed if one.suffix not in known and one.role != ANNOTATIONS]
    inside = {one.file.path for one in placed}
    outside = [file for file in files if file.path.suffix.lower() in IMAGE_SUFFIXES and file.path not in inside]
    if not strange and not outside:
        return ""
    said = []
    if strange:
        are = several(len(strange), "is", "are")
        said.append(f"{are} of a kind that is not read, such as {one_form(strange[0].name)}")
    if outside:
        lie = several(len(outside), "lies", "lie")
        said.append(f"{lie} in no folder images, masks, labels or types, such as {one_form(outside[0].name)}")
    return f"{several(len(strange) + len(outside), 'file is', 'files are')} left out: {'; '.join(said)}"
