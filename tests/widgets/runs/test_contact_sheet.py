"""The contact sheet puts each tile above its masked self and is never stretched."""

import numpy as np
import pytest
from PIL import Image

from napari_sdmae.widgets.runs.contact_sheet import GAP, Picture, contact_sheet

pytestmark = pytest.mark.gui


@pytest.fixture
def tiles(tissue):
    files = sorted((tissue / "tiles").rglob("*.jpg"))[:5]
    return np.stack([np.asarray(Image.open(file).convert("RGB").resize((48, 48))) for file in files])


def test_each_tile_stands_above_its_masked_self(tiles):
    masked = 255 - tiles
    sheet = contact_sheet(tiles, masked, columns=3)
    cell = 48 + GAP
    assert sheet.shape == (4 * cell - GAP, 3 * cell - GAP, 4)
    for index in range(5):
        row, column = 2 * cell * (index // 3), cell * (index % 3)
        np.testing.assert_array_equal(sheet[row : row + 48, column : column + 48, :3], tiles[index])
        np.testing.assert_array_equal(sheet[row + cell : row + cell + 48, column : column + 48, :3], masked[index])
    assert not sheet[2 * cell :, 2 * cell :, 3].any()  # the place of a sixth tile is empty
    assert not sheet[:, 48:cell, 3].any()


def test_the_picture_keeps_its_proportions_and_takes_no_room_while_empty(qtbot, tiles):
    picture = Picture()
    qtbot.addWidget(picture)
    picture.show_array(None)
    assert picture.empty
    assert picture.heightForWidth(200) == 0
    sheet = contact_sheet(tiles, tiles, columns=5)
    picture.show_array(sheet)
    assert not picture.empty
    assert picture.heightForWidth(sheet.shape[1] // 2) == pytest.approx(sheet.shape[0] / 2, abs=1)
    assert picture.heightForWidth(5000) == sheet.shape[0]


def test_the_picture_shows_the_very_pixels(qtbot, tiles):
    picture = Picture()
    qtbot.addWidget(picture)
    sheet = contact_sheet(tiles, tiles, columns=5)
    picture.show_array(sheet)
    picture.resize(sheet.shape[1], sheet.shape[0])
    picture.show()
    qtbot.waitExposed(picture)
    pixel = picture.grab().toImage().pixelColor(20, 10)
    assert (pixel.red(), pixel.green(), pixel.blue()) == tuple(tiles[0, 10, 20])
