"""What is refused before it is read, as it would not fit into the memory."""

from pathlib import Path

import pytest

from napari_sdmae.io import memory
from napari_sdmae.io.images.read import InvalidImageError, image_size, read_header, read_image
from napari_sdmae.io.labels.aperio_xml import read_outlines
from napari_sdmae.io.labels.registry import InvalidLabelsError, import_labels
from napari_sdmae.io.memory import TooLargeError, read_whole

START = {"png": b"\x89PNG\r\n\x1a\n", "jpg": b"\xff\xd8\xff\xe0", "xml": b"<Annotations>"}
REFUSALS = (TooLargeError, InvalidImageError, InvalidLabelsError)
WORDS = r"larger than 4\.0 GB|reading the file in one piece"
READERS = {
    ".png": (image_size, read_header, read_image, import_labels),
    ".jpg": (image_size, read_header, read_image),
    ".xml": (read_outlines,),
}


@pytest.fixture
def large(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of 40 GB that takes a few bytes of the disk."""
    path = tmp_path / f"large.{request.param}"
    with path.open("wb") as file:
        file.write(START[request.param])
        file.truncate(40_000_000_000)
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} was read in one piece"))
    monkeypatch.setattr(memory, "available_memory", lambda: 20_000_000_000)
    return path


@pytest.mark.parametrize("large", START, indirect=True)
def test_a_file_of_gigabytes_is_refused_in_words(large: Path):
    with pytest.raises(TooLargeError, match=r"reading the file in one piece needs about 40 GB of memory, 16 GB can be used"):
        read_whole(large)
    for read in READERS[large.suffix]:
        with pytest.raises(REFUSALS, match=WORDS):
            read(large)
