from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from napari_sdmae.config.finetune import FinetuneConfig, LabelledAugmentation
from napari_sdmae.config.presets import load_preset, preset_names
from napari_sdmae.config.pretrain import AugmentationConfig, LossConfig, ModelConfig, PretrainConfig


@pytest.mark.parametrize("name", preset_names())
def test_presets_are_valid_and_survive_yaml(name: str, tmp_path: Path) -> None:
    config = PretrainConfig.from_preset(name, data="slides")
    path = tmp_path / "settings.yaml"
    path.write_text(config.to_yaml(), encoding="utf-8")
    assert PretrainConfig.from_yaml(path) == config


def test_the_paper_preset_is_the_published_arithmetic_and_recipe() -> None:
    config = PretrainConfig.from_preset("paper-vit-small", data="slides")
    assert config.loss == LossConfig.paper()
    assert (config.mask_ratio, config.epochs, config.batch_size) == (0.6, 100, 1024)
    assert config.optimizer.base_lr * config.batch_size / 256 == pytest.approx(2.4e-3)
    assert config.augmentation.crop_scale == (0.08, 1.0)
    assert not config.augmentation.flip
    assert config.model.position == "sincos1d"


def test_changes_are_laid_over_a_preset_key_by_key() -> None:
    config = PretrainConfig.from_preset("cpu-demo", data="slides", epochs=3, loss={"p": 0.5})
    preset = load_preset("cpu-demo")
    assert (config.epochs, config.loss.p) == (3, 0.5)
    assert config.loss.p_ramp_epochs == preset["loss"]["p_ramp_epochs"]


def test_unknown_preset_says_which_there_are() -> None:
    with pytest.raises(ValueError, match="no preset 'huge'; there are: vit-small"):
        PretrainConfig.from_preset("huge", data="slides")


def test_an_unknown_key_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump({"data": "slides", "loss": {"weight": 0.2}}), encoding="utf-8")
    with pytest.raises(ValidationError, match=r"loss\.weight"):
        PretrainConfig.from_yaml(path)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"model": {"tile_size": 225}}, "choose 224 px"),
        ({"model": {"decoder_width": 100}}, "not a multiple of its 3 heads"),
        ({"augmentation": {"crop_scale": (1.0, 0.2)}}, "smallest <= largest"),
        ({"loss": {"distance": "cosine"}}, "needs model.head 'predictor'"),
        ({"model": {"head": "predictor"}}, "needs model.head 'embedding'"),
        ({"loss": {"distance": "cross_entropy"}}, "needs model.head 'projection'"),
        (
            {"model": {"head": "projection"}, "loss": {"distance": "cross_entropy", "target": "both"}},
            "set loss.target to 'image' or 'token'",
        ),
        ({"model": {"head": "predictor"}, "loss": {"distance": "cosine", "target": "image"}}, "set loss.target to 'token'"),
        ({"mask_ratio": 1.0}, "less than 1"),
    ],
)
def test_settings_that_cannot_work_say_what_to_do(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PretrainConfig.model_validate({"data": "slides"} | wrong)


@pytest.mark.parametrize("area", [(1.0, 0.2), (0.0, 1.0), (0.5, 2.0), (-1.0, 0.5)])
@pytest.mark.parametrize("kind", [AugmentationConfig, LabelledAugmentation])
def test_a_crop_is_a_part_of_the_tile(kind: type[BaseModel], area: tuple[float, float]) -> None:
    with pytest.raises(ValidationError, match="crop area"):
        kind.model_validate({"crop_scale": area})


def fields(model: type[BaseModel]) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for name, field in model.model_fields.items():
        nested = field.annotation
        if isinstance(nested, type) and issubclass(nested, BaseModel):
            found += fields(nested)
        else:
            found.append((name, field))
    return found


@pytest.mark.parametrize("settings", [PretrainConfig, FinetuneConfig])
def test_every_field_has_what_a_form_needs(settings: type[BaseModel]) -> None:
    for name, field in fields(settings):
        assert field.title, name
        assert field.description, name
        assert {"unit", "basic"} <= set(field.json_schema_extra), name


def test_grid() -> None:
    assert ModelConfig(tile_size=224, patch_size=14).grid == 16
