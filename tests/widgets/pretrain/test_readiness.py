"""Every reason why Start is disabled, in words that say what to do."""

from dataclasses import replace

import pytest

from napari_sdmae.widgets.pretrain.readiness import Found, ImagesSituation
from napari_sdmae.widgets.runs.readiness import reason_not_to_start


@pytest.fixture
def ready(tmp_path) -> ImagesSituation:
    return ImagesSituation(source=tmp_path, found=Found(images=10, unusable=1, tiles=200), output=tmp_path / "runs")


def test_no_reason_when_all_is_well(ready):
    assert reason_not_to_start(ready) == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"source": None}, "Choose a folder of images."),
        ({"run_live": True}, "A run is training"),
        ({"problems": ["Scale: too large"]}, "Scale: too large"),
        ({"output": None}, "Choose the folder to save runs in"),
        ({"checking": True, "found": None}, "Checking the images"),
        ({"found": None}, "not been checked"),
        ({"found": None, "check_failed": "The disk is away."}, "The disk is away."),
        ({"found": Found(0, 0, 0)}, "No images in this folder"),
        ({"found": Found(10, 2, 200)}, "2 of 12 files cannot be used, more than the 10% allowed"),
        ({"found": Found(10, 0, 0)}, "No tile shows enough tissue"),
    ],
)
def test_each_reason_in_words(ready, change, words):
    assert words in reason_not_to_start(replace(ready, **change))


def test_a_missing_folder_and_a_file_instead_of_the_runs_folder(ready, tmp_path):
    assert "does not exist" in reason_not_to_start(replace(ready, source=tmp_path / "away"))
    (tmp_path / "file").write_text("")
    assert "is a file" in reason_not_to_start(replace(ready, output=tmp_path / "file"))


def test_more_unusable_files_may_be_allowed(ready):
    assert reason_not_to_start(replace(ready, found=Found(10, 2, 200), max_unusable=0.2)) == ""
