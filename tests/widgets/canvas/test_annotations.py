"""What is painted over a picture is taken where it lies, whatever scale, place or rotation the layers have."""

import numpy as np
import pytest
from napari.layers import Image, Labels, Shapes
from PIL import Image as Pillow

from napari_sdmae.layers.shapes import shape_classes
from napari_sdmae.widgets.canvas.annotations import annotations_from_labels, annotations_from_shapes, classes_of, find_pairs
from napari_sdmae.widgets.canvas.crops import LayerPair

POINT = (0.0, 0.0)
MICRONS = {"scale": (0.5, 0.5), "units": ("um", "um")}


@pytest.fixture(scope="module")
def region(tissue):
    return np.asarray(Pillow.open(tissue / "regions" / "skin_morphea.jpg").convert("RGB"))[:600, :700]


@pytest.fixture
def strokes():
    labels = np.zeros((600, 700), np.uint8)
    labels[100:140, 200:300], labels[400:420, 500:640], labels[300:310, 300:310] = 1, 2, 3
    return labels


def test_the_part_around_the_strokes_is_cut_into_pieces_that_fit_together(region, strokes):
    image, labels = Image(region, name="skin", **MICRONS), Labels(strokes, **MICRONS)
    pictures = annotations_from_labels([LayerPair(image, labels)], "segmentation", POINT)
    assert {picture.slide for picture in pictures} == {"skin"}
    assert all(picture.mpp == pytest.approx(0.5) for picture in pictures)
    assert all(picture.labels.any() for picture in pictures)
    assert sum(int((picture.labels > 0).sum()) for picture in pictures) == int((strokes > 0).sum())
    for picture in pictures:
        top, left = (int(number) for number in picture.name.split("-")[-2:])
        height, width = picture.labels.shape
        np.testing.assert_array_equal(picture.image, region[top : top + height, left : left + width])
        np.testing.assert_array_equal(picture.labels, strokes[top : top + height, left : left + width])


def seen(labels, image, picture, step):
    """Return the label napari shows at the centre of every `step`-th pixel of the picture: one question per pixel."""
    top, left = (int(number) for number in picture.name.split("-")[-2:])
    rows, columns = (range(0, length, step) for length in picture.labels.shape)
    where = (image.data_to_world((row + top, column + left)) for row in rows for column in columns)
    return np.array([labels.get_value(place, world=True) or 0 for place in where]).reshape(len(rows), len(columns))


@pytest.mark.parametrize(
    "place",
    [
        {"scale": (2.0, 2.0), "translate": (30.2, 40.7)},
        {"scale": (0.7, 1.3), "translate": (20.0, 5.0)},
        {"rotate": 25.0, "translate": (80.0, 60.0)},
        {"affine": np.array([[0.9, 0.2, 12.0], [-0.3, 1.1, 100.0], [0.0, 0.0, 1.0]])},
    ],
    ids=["scaled", "stretched", "rotated", "sheared"],
)
def test_labels_of_another_place_lie_where_napari_shows_them(region, place):
    image = Image(region[:400, :500], name="skin", scale=(1.1, 1.1), translate=(7.0, -3.0))
    values = np.zeros((60, 50), np.int32)
    values[5:20, 8:30], values[30:50, 20:45] = 1, 2
    labels = Labels(values, **place)
    (picture,) = annotations_from_labels([LayerPair(image, labels)], "segmentation", POINT)
    expected = seen(labels, image, picture, step=4)
    assert set(np.unique(expected)) == {0, 1, 2}
    assert (picture.labels[::4, ::4] != expected).mean() < 0.003  # a centre between two label pixels may fall to either


def test_slices_of_a_stack_are_pictures_of_one_slide(region):
    stack = np.stack([region[:200, :200], region[200:400, :200], region[:200, 200:400]])
    values = np.zeros((3, 200, 200), np.int32)
    values[0, 50:90, 50:90], values[2, 20:60, 20:60] = 1, 2
    pictures = annotations_from_labels(
        [LayerPair(Image(stack, name="stack", rgb=True), Labels(values))], "segmentation", (0.0, 0.0, 0.0)
    )
    assert {int(picture.name.split("-")[1]) for picture in pictures} == {0, 2}
    assert {picture.slide for picture in pictures} == {"stack"}
    last = next(picture for picture in pictures if picture.name.startswith("stack-002"))
    top, left = (int(number) for number in last.name.split("-")[-2:])
    height, width = last.labels.shape
    np.testing.assert_array_equal(last.image, stack[2, top : top + height, left : left + width])


def test_nuclei_keep_their_numbers_and_types_and_little_is_taken_around_them(region):
    values = np.zeros((600, 700), np.int32)
    values[100:120, 100:120], values[300:330, 400:430] = 7, 300
    classes = [
        {"value": 1, "name": "tumour", "colour": (1, 2, 3)},
        {"value": 2, "name": "lymphocyte", "colour": (4, 5, 6)},
    ]
    labels = Labels(values, metadata={"sdmae": {"class_of": {"7": 2, "300": 1}, "classes": classes}})
    pairs = [LayerPair(Image(region, name="skin"), labels)]
    pictures = annotations_from_labels(pairs, "instances", POINT)
    assert {int(number) for picture in pictures for number in np.unique(picture.labels)} == {0, 7, 300}
    assert {number: value for picture in pictures for number, value in picture.class_of.items()} == {7: 2, 300: 1}
    assert max(picture.labels.shape[0] for picture in pictures) <= 330 - 100 + 2 * 16
    assert [one.name for one in classes_of(pairs, "instances", [])] == ["tumour", "lymphocyte"]


def test_classes_have_the_names_a_person_gives_and_background_only_when_wanted(region, strokes):
    pairs = [LayerPair(Image(region), Labels(strokes))]
    assert [(one.value, one.name) for one in classes_of(pairs, "segmentation", ["tumour", "", "fat"])] == [
        (1, "tumour"),
        (2, "class 2"),
        (3, "fat"),
    ]
    assert classes_of(pairs, "segmentation", [], background=True)[0].name == "background"
    assert [one.name for one in classes_of(pairs, "instances", [])] == ["nucleus"]


def test_labels_find_the_image_they_lie_over(region):
    left, right = Image(region[:, :300], name="left"), Image(region[:, 300:], name="right", translate=(0, 300))
    painted = Labels(np.ones((50, 50), int), translate=(10, 290), name="painted")
    away = Labels(np.ones((5, 5), int), translate=(5000, 5000), name="away")
    pairs = find_pairs([left, right, painted, away], [painted, away], [left, right])
    assert [(pair.labels.name, pair.image.name) for pair in pairs] == [("painted", "right")]


def test_boxes_are_drawn_shapes_in_pixels_of_their_piece(region):
    image = Image(region, name="skin", scale=(0.5, 0.5))
    mitoses = Shapes([np.array([[50, 60], [50, 80], [70, 80], [70, 60]])], name="mitosis")
    others = Shapes(
        [
            np.array([[200, 200], [200, 220], [210, 220], [210, 200]]),
            np.array([[100.0, 300.0], [100, 310], [120, 310], [120, 300]]),
        ],
        features={"class": ["vessel", "mitosis"]},
        name="others",
    )
    pairs = [LayerPair(image, mitoses), LayerPair(image, others)]
    classes = classes_of(pairs, "detection", [])
    assert [(one.value, one.name) for one in classes] == [(1, "mitosis"), (2, "vessel")]
    pictures = annotations_from_shapes(pairs, POINT)
    found = []
    for picture in pictures:
        top, left = (int(number) for number in picture.name.split("-")[-2:])
        np.testing.assert_array_equal(picture.image, region[top:, left:][: picture.image.shape[0], : picture.image.shape[1]])
        found += [(x0 + left, y0 + top, x1 + left, y1 + top, value) for x0, y0, x1, y1, value in picture.boxes]
    # world = half a pixel per pixel; edges of pixels, so half a pixel more than centres
    expected = [(120.5, 100.5, 160.5, 140.5, 1), (400.5, 400.5, 440.5, 420.5, 2), (600.5, 200.5, 620.5, 240.5, 1)]
    np.testing.assert_allclose(sorted(found), sorted(expected))


@pytest.mark.parametrize("column", ["class", "classification", "label", "name"])
def test_a_class_is_read_as_file_save_reads_it(region, column):
    box = np.array([[50, 60], [50, 80], [70, 80], [70, 60]])
    words = ["mitosis ", "NaN", "none", None, float("nan"), ""]
    drawn = Shapes([box] * len(words), features={column: words}, name="others")
    assert [one.name for one in classes_of([LayerPair(Image(region), drawn)], "detection", [])] == ["mitosis", "others"]
    assert shape_classes(drawn.features, len(words)) == ["mitosis", *[None] * 5]


def test_nothing_painted_or_drawn_is_said(region):
    with pytest.raises(ValueError, match="nothing is painted"):
        annotations_from_labels([LayerPair(Image(region), Labels(np.zeros((9, 9), int)))], "segmentation", POINT)
    with pytest.raises(ValueError, match="nothing is drawn"):
        annotations_from_shapes([LayerPair(Image(region), Shapes(ndim=2))], POINT)


def test_a_picture_without_boxes_teaches_what_is_none(region):
    drawn = LayerPair(Image(region, name="a"), Shapes([np.array([[5, 5], [5, 9], [9, 9], [9, 5]])], name="mitosis"))
    empty = LayerPair(Image(region[:300, :300], name="b"), Shapes(ndim=2, name="none"))
    pictures = annotations_from_shapes([drawn, empty], POINT)
    assert [picture.boxes for picture in pictures if picture.slide == "b"] == [[]]


def test_of_a_pyramid_only_the_wanted_part_of_a_level_is_read(region, monkeypatch):
    monkeypatch.setattr("napari_sdmae.widgets.canvas.write_layers.MOST_PIXELS", 200_000)
    monkeypatch.setattr("napari_sdmae.widgets.canvas.write_layers.finest_level.__defaults__", (200_000,))
    image = Image([region, region[::2, ::2]], name="slide", multiscale=True, **MICRONS)
    values = np.zeros((600, 700), np.uint8)
    values[200:260, 300:360] = 1
    (picture,) = annotations_from_labels([LayerPair(image, Labels(values, **MICRONS))], "segmentation", POINT)
    assert picture.mpp == pytest.approx(1.0)
    top, left = (int(number) for number in picture.name.split("-")[-2:])
    height, width = picture.labels.shape
    np.testing.assert_array_equal(picture.image, region[::2, ::2][top : top + height, left : left + width])
    assert int((picture.labels > 0).sum()) == 30 * 30
