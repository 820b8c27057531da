"""One rule of when a model sees another scale than its own."""

import re
from pathlib import Path

import pytest

from napari_sdmae import notices
from napari_sdmae.notices import scale_notes


@pytest.mark.parametrize("shown", [0.25, 0.5, 0.75, None])
def test_within_what_crops_show_nothing_is_said(shown: float | None) -> None:
    assert scale_notes(0.5, shown) == []
    assert scale_notes(None, shown) == []


@pytest.mark.parametrize(("shown", "how"), [(0.249, "2.0× finer"), (0.751, "1.5× coarser"), (4.0, "8.0× coarser")])
def test_outside_it_is_said_which_way(shown: float, how: str) -> None:
    (note,) = scale_notes(0.5, shown)
    assert how in note
    assert "its training (0.5 µm/px)" in note


def test_the_remedy_is_one_that_helps() -> None:
    """A smaller region shows finer detail only where the region chooses the resolution."""
    (coarse,), (fine,) = scale_notes(0.5, 2.0, "choose a smaller region"), scale_notes(0.5, 0.1, "choose a smaller region")
    assert coarse.endswith(": choose a smaller region, or use a model trained at this scale")
    assert fine.endswith("reliable: use a model trained at this scale")
    assert scale_notes(0.5, 2.0)[0].endswith("reliable: use a model trained at this scale")


ROOT = Path(notices.__file__).parents[1]
OTHER_WORDS = re.compile(r"medical device|for research|research use|research and teaching|eye of a pathologist", re.IGNORECASE)


def test_programs_take_the_words_from_here() -> None:
    """Twelve wordings stood in as many files; people should meet one."""
    modules = Path(notices.__file__).parent.rglob("*.py")
    assert [path.name for path in modules if OTHER_WORDS.search(path.read_text(encoding="utf-8"))] == ["notices.py"]
    for said in (notices.RESEARCH, notices.ATTENTION, notices.RECONSTRUCTION, notices.SCRIBBLES, notices.PREDICTION):
        assert said.count(notices.NO_DEVICE) == 1


DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "bundle/README.txt")),
    *(path for folder in ("docs", "resources") for path in sorted((ROOT / folder).rglob("*.md"))),
]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_documents_use_the_same_words(path: Path) -> None:
    text = " ".join(path.read_text(encoding="utf-8").replace("**", "").split())
    for words in (notices.NO_DEVICE, notices.USE, "For research and teaching"):
        text = text.replace(words, "")
    assert not OTHER_WORDS.search(text)
