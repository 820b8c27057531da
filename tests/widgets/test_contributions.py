"""Sample data, run folders, menus and preferences, as napari finds them."""

import sys

import label_cases as cases
import numpy as np
import pytest
from npe2 import PluginManager
from PIL import Image
from qtpy.QtWidgets import QFileDialog

from napari_sdmae.contributions.readers import get_run_reader, read_run
from napari_sdmae.io.labels.registry import export_labels
from napari_sdmae.labels.serialization import METADATA_KEY
from napari_sdmae.widgets.base import preferences
from napari_sdmae.widgets.base.preferences import remembered
from napari_sdmae.widgets.canvas.open_folder import show_folder

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
    about = layer.metadata[METADATA_KEY]
    assert "MIT" in about["licence"]
    assert "Pathology Atlas" in about["source"]
    assert "MIT" in layer.name
    assert 0.4 < layer.scale[0] < 0.6
    assert str(layer.units[0]) == "micrometer"
    assert layer.rgb
    assert layer.data.std() > 20


def test_labelled_nuclei_open_with_their_types(viewer):
    picture, nuclei = viewer.open_sample("napari-sdmae", "nuclei")
    about = nuclei.metadata[METADATA_KEY]
    assert "BSD-3" in about["licence"]
    assert "not drawn by hand" in about["labels"]
    assert picture.data.shape[:2] == nuclei.data.shape
    assert len(np.unique(nuclei.data)) - 1 == 1294
    assert nuclei.features["class"].value_counts().to_dict() == {"inflammatory": 633, "connective": 373, "neoplastic": 288}
    stained = picture.data[..., 0].astype(float)
    assert stained[nuclei.data > 0].mean() < stained[nuclei.data == 0].mean() - 20, (
        "nuclei are darker than the tissue around them"
    )


def test_a_run_opens_by_its_status_as_its_latest_previews(viewer, tmp_path):
    run = make_run(tmp_path / "run 7")
    layers = viewer.open(run / "status.json", plugin=None)
    assert [layer.name for layer in layers] == [f"run 7 · {name}" for name in ("input", "masked", "reconstruction", "error")]
    assert layers[0].data.max() == 2
    assert layers[0].metadata[METADATA_KEY]["run"] == str(run)
    assert len(read_run([str(run), str(make_run(tmp_path / "run 8") / "status.json")])) == 8
    young, other = make_run(tmp_path / "young", ()), tmp_path / "other" / "status.json"
    other.parent.mkdir()
    other.write_text("{}")
    for path, told in ((young / "status.json", "young has no previews yet"), (other, "not a run of SD-MAE")):
        with pytest.raises(Exception, match="napari-sdmae") as caught:
            viewer.open(path, plugin=None)
        assert told in str(caught.value.__cause__)
    assert get_run_reader(str(tmp_path)) is None


def test_a_folder_of_pictures_opens_without_us_and_without_a_question(viewer, tmp_path):
    """Dropping calls ``viewer.open``, and asks a person only when that raises."""
    for folder in (tmp_path / "tiles", make_run(tmp_path / "run"), tmp_path / "labels.zarr"):
        folder.mkdir(exist_ok=True)
        assert offered(folder) == {"napari"}
    for number in range(3):
        Image.fromarray(np.full((8, 9, 3), number, np.uint8)).save(tmp_path / "tiles" / f"{number}.png")
    (layer,) = viewer.open(tmp_path / "tiles", plugin=None)
    assert layer.data.shape == (3, 8, 9, 3)


@pytest.mark.parametrize(
    "name", ["slide.ome.tif", "label-free.ome.tif", "labels.png", "a.json", "classes.json", "a.csv", "a.npy"]
)
def test_ordinary_files_are_left_to_other_readers(name):
    assert "napari-sdmae" not in offered(name)


def offered(path):
    return {reader.plugin_name for reader in PluginManager.instance().iter_compatible_readers(str(path))}


def test_a_command_of_the_file_menu_opens_folders(viewer, tmp_path, monkeypatch, fresh_memory):
    from napari._app_model import get_app_model

    app = get_app_model()
    menu = app.menus.get_menu("napari/file/io_utilities")
    assert "napari-sdmae.open_folder" in {item.command.id for item in menu if hasattr(item, "command")}
    label_map = cases.objects(cases.hard())
    (tmp_path / "many").mkdir()
    for name in ("labels.ome.zarr", "many/a-labels.ome.tif", "many/b.png"):
        export_labels(label_map, tmp_path / name)
    expected = {"labels.ome.zarr": 1, "labels.ome.zarr/labels": 1, "many": 2, ".": 1, "run": 4}
    make_run(tmp_path / "run")
    for name, count in expected.items():
        viewer.layers.clear()
        monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_, name=name: str(tmp_path / name))
        app.commands.execute_command("napari-sdmae.open_folder").result()
        assert len(viewer.layers) == count, name
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match=r"no labels in this folder. Expected an OME-Zarr"):
        show_folder(viewer, empty)
    assert remembered("open.folder", "") == str(tmp_path)


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
    assert preferences.preference("device") == "auto"
    assert preferences.output_folder().name == "sdmae"
    assert preferences.cache_folder() is None
    general.output_folder, general.cache_folder = str(tmp_path), str(tmp_path / "cache")
    try:
        assert (preferences.output_folder(), preferences.cache_folder()) == (tmp_path, tmp_path / "cache")
    finally:
        general.output_folder = general.cache_folder = ""
    with pytest.raises(ValueError, match="abacus"):
        general.device = "abacus"


def test_the_values_last_used_are_remembered(fresh_memory):
    assert preferences.remembered("models", []) == []
    preferences.remember("ratio", 0.7)
    assert preferences.remembered("ratio", 0.6) == 0.7
    assert preferences.remembered("ratio", "text") == "text"
    for number in range(10):
        preferences.remember_recent("models", f"m{number % 9}")
    assert preferences.remembered("models", []) == ["m0", "m8", "m7", "m6", "m5", "m4", "m3", "m2"]
    preferences.memory_file().write_text("{broken")
    assert preferences.remembered("ratio", 0.6) == 0.6
