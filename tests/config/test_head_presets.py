from pathlib import Path
from typing import get_args

import pytest
import yaml

from napari_sdmae.config.finetune import FinetuneConfig, Task
from napari_sdmae.config.presets import BASED_ON, DEFAULT_HEAD_PRESET, head_preset_names, load_head_preset, preset_names


def settings(name: str) -> FinetuneConfig:
    return FinetuneConfig.from_preset(name, data="tiles", model="vit-small")


@pytest.mark.parametrize("name", head_preset_names())
def test_presets_are_valid_and_survive_yaml(name: str, tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(settings(name).to_yaml(), encoding="utf-8")
    assert FinetuneConfig.from_yaml(path) == settings(name)


def test_the_default_comes_first_and_the_presets_of_pretraining_stay_apart() -> None:
    assert head_preset_names()[0] == DEFAULT_HEAD_PRESET
    assert not set(head_preset_names()) & set(preset_names())


def test_the_papers_fine_tuning_is_the_published_recipe() -> None:
    config = settings("paper-classification")
    assert config.optimizer.base_lr * config.batch_size / 256 == pytest.approx(4e-3)
    assert (config.epochs, config.optimizer.warmup_epochs, config.optimizer.min_lr) == (100, 5, 1e-6)
    changes = config.augmentation
    assert (changes.mixup, changes.cutmix, changes.label_smoothing, changes.rand_augment, changes.erase) == (0.8, 1, 0.1, 9, 0.25)
    assert (config.encoder.layer_decay, config.encoder.drop_path) == (0.75, 0.1)


def test_the_papers_segmentation_is_the_published_recipe() -> None:
    config = settings("paper-segmentation")
    assert config.optimizer.base_lr * config.batch_size / 256 == pytest.approx(4e-4, rel=1e-3)
    assert (config.tile_px, config.head.width, config.head.auxiliary, config.encoder.layer_decay) == (512, 384, 0.4, 0.65)


def test_the_linear_probe_trains_the_classifier_alone() -> None:
    config = settings("paper-linear-probe")
    assert (config.encoder.train, config.head.classifier, config.optimizer.weight_decay) == ("frozen", "linear_probe", 0)


def test_what_is_labelled_at_its_centre_keeps_it() -> None:
    changes = settings("centre-classes").augmentation
    assert (changes.crop_scale, changes.cutmix, changes.erase, changes.rand_augment) == ((1, 1), 0, 0, 0)


def test_every_task_has_a_preset_and_detection_learns_at_the_published_rate() -> None:
    """AdamW at 1e-4, as ViTDet (arXiv 2203.16527)."""
    assert {load_head_preset(name)["task"] for name in head_preset_names()} == set(get_args(Task))
    config = settings("detection")
    assert config.optimizer.base_lr * config.batch_size / 256 == pytest.approx(1e-4)


def test_changes_are_laid_over_a_preset_and_unknown_names_are_told() -> None:
    config = FinetuneConfig.from_preset("nuclei", data="tiles", head={"decoder": "dpt"})
    assert (config.head.decoder, config.head.separation) == ("dpt", load_head_preset("nuclei")["head"]["separation"])
    with pytest.raises(ValueError, match="no preset 'organs'; there are: nuclei"):
        load_head_preset("organs")


def test_a_preset_for_a_data_set_changes_the_one_it_is_based_on() -> None:
    paper, own = load_head_preset("paper-classification"), load_head_preset("paper-nct-8-classes")
    assert own == paper | {"seen_mpp": 0.5, "image_mpp": 0.5, "labels": paper["labels"] | own["labels"]}
    assert settings("paper-nct-8-classes").labels.leave_out == settings("nct-8-classes").labels.leave_out == ("BACK",)
    assert settings("nct-9-classes").labels.leave_out == ()
    probe = settings("centre-probe")
    assert (probe.tile_px, probe.augmentation.crop_scale, probe.head.classifier) == (None, (1, 1), "linear_probe")


def test_every_preset_says_what_it_is_for() -> None:
    from importlib import resources

    for name in head_preset_names():
        text = resources.files("napari_sdmae.resources").joinpath("presets", "heads", f"{name}.yaml").read_text(encoding="utf-8")
        assert text.startswith("# ")
        assert set(yaml.safe_load(text)) <= {BASED_ON, *FinetuneConfig.model_fields}
