import pytest

from napari_sdmae.humanize import count, different, duration, plain, sentence, several, size, slug


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
    ("count", "words"),
    [
        (12, "12 bytes"),
        (640e6, "640 MB"),
        (1.24e9, "1.2 GB"),
        (15e9, "15 GB"),
        (2e12, "2.0 TB"),
        (3e15, "3000 TB"),
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_499, "999 kB"),
        (999_999, "1.0 MB"),
        (9_949_000, "9.9 MB"),
        (9_960_000, "10 MB"),
    ],
)
def test_sizes(count, words):
    assert size(count) == words


@pytest.mark.parametrize(
    ("number", "words"), [(640, "640"), (12_300, "12,300"), (999_999, "999,999"), (999_999.7, "1.00 M"), (1_204_000, "1.20 M")]
)
def test_counts(number, words):
    assert count(number) == words


def test_one_thing_has_another_word_than_many():
    assert [several(number, "box", "boxes") for number in (0, 1, 12_300)] == ["0 boxes", "1 box", "12,300 boxes"]


def test_a_number_has_no_underscores():
    assert plain("balanced_accuracy") == "balanced accuracy"


def test_a_sentence_begins_with_a_capital_letter():
    assert [sentence(line) for line in ("all images are of slide B12", "")] == ["All images are of slide B12", ""]
    assert sentence("fine-tune it first") == "Fine-tune it first"


@pytest.mark.parametrize("line", ["a.geojson: damaged", "mask_ratio is 2", "/data holds none", "k-NN has no weights", "mIoU 0.5"])
def test_names_of_files_and_settings_keep_their_letters(line):
    assert sentence(line) == line


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("skin 1.tif", "skin-1.tif"),
        ("../..", "it"),
        ("", "it"),
        ("Haut µm", "Haut-µm"),
        ("a/b\\c", "a-b-c"),
        (".hidden.", "hidden"),
    ],
)
def test_a_slug_is_a_file_name_on_every_system(name: str, expected: str) -> None:
    assert slug(name, "it") == expected


def test_the_second_of_a_name_has_a_number_that_no_other_has() -> None:
    assert different(["a", "a", "b", "a-2", "a"]) == ["a", "a-2", "b", "a-2-2", "a-3"]
