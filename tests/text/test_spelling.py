"""Names as macOS and Windows spell them."""

import unicodedata

from napari_sdmae.labels.label_map import LabelClass
from napari_sdmae.text.spelling import ByName, near, one_form

COMPOSED = "Drüse"
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)


def test_both_unicode_forms_are_one_name():
    assert COMPOSED != DECOMPOSED
    assert one_form(DECOMPOSED) == COMPOSED
    assert near("DRÜSE") == near(DECOMPOSED)
    assert LabelClass(value=1, name=DECOMPOSED, colour=(1, 2, 3)).name == COMPOSED


def test_the_exact_name_comes_first_and_case_is_told_apart_only_where_it_must():
    named = ByName([("a.png", 1), ("A.png", 2), ("IMG_0.png", 3), (DECOMPOSED, 4)])
    assert (named.find("a.png"), named.find("A.png"), named.find("img_0.png"), named.find(COMPOSED)) == (1, 2, 3, 4)
    assert named.find("A.PNG") is None
    assert sorted(named.all("A.PNG")) == [1, 2]
    assert named.all("b.png") == []
