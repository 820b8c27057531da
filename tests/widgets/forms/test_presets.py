"""Settings to and from YAML: what cannot be used is said, and nothing is lost."""

from pathlib import Path

import pytest
import yaml

from napari_sdmae.config.presets import preset_names
from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.widgets.forms.presets import preset_note, read_settings, write_settings


@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_says_what_it_is_for_and_survives_its_yaml(preset, tmp_path):
    assert len(preset_note(preset)) > 20
    config = PretrainConfig.from_preset(preset, data=tmp_path)
    assert write_settings(tmp_path / "s.yaml", config.model_dump(exclude={"data"}), config.data) == ""
    assert read_settings(tmp_path / "s.yaml") == (config, "")


def test_settings_without_images_are_settings_for_any(tmp_path):
    config = PretrainConfig(data=Path())
    assert write_settings(tmp_path / "s.yaml", config.model_dump(exclude={"data"}), None) == ""
    assert "data" not in yaml.safe_load((tmp_path / "s.yaml").read_text())
    assert read_settings(tmp_path / "s.yaml") == (config, "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "epochs: 3\nepoch: 4\nloss: {q: 1}\n",
            ["epoch: there is no", "loss.q: there is no such setting", "the form is as it was"],
        ),
        ("epochs: many\n", ["Epochs: ", "'many'"]),
        ("mask_ratio: 1.5\n", ["Mask ratio: ", "less than 1", "1.5"]),
        ("model: {tile_size: 100}\n", ["tile size 100 px is not a multiple"]),
        ("- a\n- b\n", ["holds no settings"]),
        ("a: [1\n", ["cannot be read"]),
    ],
)
def test_what_cannot_be_used_is_said_in_words(tmp_path, text, words):
    (tmp_path / "s.yaml").write_text(text)
    config, wrong = read_settings(tmp_path / "s.yaml")
    assert config is None
    assert all(word in wrong for word in words), wrong


def test_a_missing_file_and_a_place_that_cannot_be_written_are_said(tmp_path):
    assert "cannot be read" in read_settings(tmp_path / "away.yaml")[1]
    config = PretrainConfig(data=tmp_path).model_dump(exclude={"data"})
    assert "not saved" in write_settings(tmp_path / "no" / "s.yaml", config, tmp_path)
    assert "Batch" in write_settings(tmp_path / "s.yaml", config | {"batch_size": 0}, tmp_path)
    assert not (tmp_path / "s.yaml").exists()
