"""Finds the files that a table or a COCO file names, however they are spelled. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path, PurePosixPath

from napari_sdmae.data.image_folder import SourceFile
from napari_sdmae.data.labelled.label_images import LABEL_SUFFIXES
from napari_sdmae.data.listing import Listing, list_folder
from napari_sdmae.io.images.read import IMAGE_SUFFIXES
from napari_sdmae.io.labels import aperio_xml
from napari_sdmae.text.spelling import ByName, near, one_form

SUFFIXES = IMAGE_SUFFIXES | LABEL_SUFFIXES | {aperio_xml.SUFFIX, ".geojson"}


class NamedFiles:
    """The pictures, masks and outlines below `folder` by their paths from there, also in other case or Unicode form.

    A file may be named without its ending, and then without its folder. A name that several files have is never guessed at: an
    image and its mask are often called alike.

    Parameters
    ----------
    folder
        From which names count.
    lies
        What lies in `folder`, where it was listed already; else it is listed once a name is not spelled exactly.
    """

    def __init__(self, folder: Path, lies: Listing | None = None) -> None:
        self.folder = folder
        self._lies = lies

    def find(self, name: str, below: Iterable[str] = ("",)) -> tuple[Path, str]:
        """Return the file called `name`, and why it is not known which that is (else nothing).

        Parameters
        ----------
        below
            Folders from which `name` may count, the likeliest first.
        """
        name = name.replace("\\", "/")
        places = [PurePosixPath(place, name) for place in below]
        paths = [self.folder / Path(place).expanduser() for place in places]
        there = next((path for path in paths if path.is_file()), None)
        if there is not None:
            return there, ""
        found = next((found for place in places if (found := self._alike(place))), [])
        if len(found) == 1:
            return found[0], ""
        return paths[0], f"several files are called {name}, such as {' and '.join(map(str, found[:2]))}" if found else ""

    def _alike(self, name: PurePosixPath) -> list[Path]:
        if found := self._paths.all(str(name)):
            return found
        if name.suffix.lower() in SUFFIXES:
            return []
        called = self._stems.all(name.name)
        return [one for one in called if near(str(one.parent)) == near(str(self.folder / name.parent))] or called

    @cached_property
    def _files(self) -> list[SourceFile]:
        lies = list_folder(self.folder) if self._lies is None else self._lies
        return [file for file in lies.files if file.path.suffix.lower() in SUFFIXES]

    @cached_property
    def _paths(self) -> ByName[Path]:
        return ByName((one_form(file.name), file.path) for file in self._files)

    @cached_property
    def _stems(self) -> ByName[Path]:
        return ByName((file.path.stem, file.path) for file in self._files)
