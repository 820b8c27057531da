import pytest

from napari_sdmae.widgets._words import duration, size


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (250, "4 min 10 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (273600, "3 d 4 h"),
        (-5, "0 s"),
    ],
)
def test_durations(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"), [(12, "12 bytes"), (640e6, "640 MB"), (1.24e9, "1.2 GB"), (15e9, "15 GB"), (2e12, "2.0 TB")]
)
def test_sizes(count, words):
    assert size(count) == words
