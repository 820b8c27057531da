"""Sample data, run folders, menus and preferences, as napari finds them."""

import sys

import numpy as np
import pytest
from npe2 import PluginManager

from napari_sdmae.contributions import get_run_reader
from napari_sdmae.layers import KEY
from napari_sdmae.widgets import _settings

pytestmark = pytest.mark.gui


def make_run(folder, epochs=(1, 2)):
    (folder / "previews").mkdir(parents=True)
    (folder / "config.yaml").write_text("{}")
    (folder / "status.json").write_text("{}")
    tiles = np.zeros((2, 32, 32, 3), np.uint8)
    for epoch in epochs:
        np.savez(
            folder / "previews" / f"epoch-{epoch:06d}.npz",
            input=tiles + epoch,
            masked=tiles,
            reconstruction=tiles,
            error=np.zeros((2, 32, 32), np.float32),
        )
    return folder


@pytest.mark.parametrize("key", ["region", "tiles"])
def test_samples_open_in_micrometres_with_their_licence(viewer, key):
    (layer,) = viewer.open_sample("napari-sdmae", key)
    about = layer.metadata[KEY]
    assert "MIT" in about["licence"]
    assert "Pathology Atlas" in about["source"]
    assert "MIT" in layer.name
    assert 0.4 < layer.scale[0] < 0.6
    assert str(layer.units[0]) == "micrometer"
    assert layer.rgb
    assert layer.data.std() > 20


def test_labelled_nuclei_open_with_their_types(viewer):
    picture, nuclei = viewer.open_sample("napari-sdmae", "nuclei")
    about = nuclei.metadata[KEY]
    assert "BSD-3" in about["licence"]
    assert "not drawn by hand" in about["labels"]
    assert picture.data.shape[:2] == nuclei.data.shape
    assert len(np.unique(nuclei.data)) - 1 == 1294
    assert nuclei.features["class"].value_counts().to_dict() == {"inflammatory": 633, "connective": 373, "neoplastic": 288}
    stained = picture.data[..., 0].astype(float)
    assert stained[nuclei.data > 0].mean() < stained[nuclei.data == 0].mean() - 20, (
        "nuclei are darker than the tissue around them"
    )


def test_a_run_folder_opens_as_its_latest_previews(viewer, tmp_path):
    run = make_run(tmp_path / "run 7")
    layers = viewer.open(run, plugin="napari-sdmae")
    assert [layer.name for layer in layers] == [f"run 7 · {name}" for name in ("input", "masked", "reconstruction", "error")]
    assert layers[0].data.max() == 2
    assert layers[0].metadata[KEY]["run"] == str(run)
    assert viewer.open(run / "status.json", plugin="napari-sdmae")[0].data.max() == 2


def test_other_folders_are_left_to_other_readers(tmp_path):
    assert get_run_reader(str(tmp_path)) is None
    assert get_run_reader(str(make_run(tmp_path / "young", ()))) is None
    assert get_run_reader([str(make_run(tmp_path / "run"))]) is None
    readers = PluginManager.instance().iter_compatible_readers(str(tmp_path / "slide.tif"))
    assert "napari-sdmae.read_run" not in [reader.command for reader in readers]


@pytest.mark.parametrize("title", ["Pre-train", "Reconstruct", "Attention", "Fine-tune", "Scribbles", "Segment"])
def test_docks_open_from_the_plugins_menu_without_torch(viewer, title, fresh_memory, qtbot):
    dock, widget = viewer.window.add_plugin_dock_widget("napari-sdmae", title)
    qtbot.waitUntil(dock.isVisible, timeout=30000)
    assert widget.width() > 100
    assert "torch" not in sys.modules
    viewer.window.remove_dock_widget(dock)


def test_the_layers_menu_offers_the_docks(viewer):
    from napari._app_model import get_app_model

    app = get_app_model()
    for menu, commands in [
        ("napari/layers/visualize", {"napari-sdmae.attention", "napari-sdmae.reconstruct"}),
        ("napari/layers/classify", {"napari-sdmae.pretrain", "napari-sdmae.finetune"}),
        ("napari/layers/segment", {"napari-sdmae.segment", "napari-sdmae.scribbles"}),
        ("napari/layers/measure", {"napari-sdmae.segment"}),
    ]:
        offered = {item.command.id for item in app.menus.get_menu(menu) if hasattr(item, "command")}
        assert commands <= offered


def test_preferences_are_used(viewer, fresh_memory, tmp_path):
    from napari.settings import get_plugin_settings

    general = get_plugin_settings("napari-sdmae").general
    assert _settings.preference("device") == "auto"
    assert _settings.output_folder().name == "sdmae"
    assert _settings.cache_folder() is None
    general.output_folder, general.cache_folder = str(tmp_path), str(tmp_path / "cache")
    try:
        assert (_settings.output_folder(), _settings.cache_folder()) == (tmp_path, tmp_path / "cache")
    finally:
        general.output_folder = general.cache_folder = ""
    with pytest.raises(ValueError, match="abacus"):
        general.device = "abacus"


def test_the_values_last_used_are_remembered(fresh_memory):
    assert _settings.remembered("models", []) == []
    _settings.remember("ratio", 0.7)
    assert _settings.remembered("ratio", 0.6) == 0.7
    assert _settings.remembered("ratio", "text") == "text"
    for number in range(10):
        _settings.remember_recent("models", f"m{number % 9}")
    assert _settings.remembered("models", []) == ["m0", "m8", "m7", "m6", "m5", "m4", "m3", "m2"]
    _settings.memory_file().write_text("{broken")
    assert _settings.remembered("ratio", 0.6) == 0.6
