"""The published arithmetic, case by case: see tests/data/reference/README.md for what the numbers are.

``SDMAE_CONFORMANCE_DIR`` names another folder of cases. Further cases are made here by a plain version of the published formula
(reference_formula.py) from real tissue, over sizes, temperatures and targets that the files do not cover.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reference_case import Case, Replay, make_case, tissue_crops
from torch import Tensor

REFERENCE = Path(os.environ.get("SDMAE_CONFORMANCE_DIR") or Path(__file__).parents[1] / "data" / "reference")
STORED = sorted(path.stem for path in REFERENCE.glob("*.json"))

ADAMW = {"name": "AdamW", "lr": 1e-3, "weight_decay": 0.05, "betas": [0.9, 0.999], "eps": 1e-8}
MADE: dict[str, dict[str, Any]] = {
    "patch14_wide_mlp": {
        "config": {"img_size": 56, "patch_size": 14, "encoder_embed_dim": 64, "encoder_depth": 2, "encoder_num_heads": 4,
                   "decoder_num_classes": 588, "decoder_embed_dim": 32, "decoder_depth": 1, "decoder_num_heads": 4,
                   "mlp_ratio": 2, "dino_head_dim": 50, "dino_hidden_dim": 24, "dino_bottleneck_dim": 12},
        "loss": {"teacher_temp": 0.06, "nepochs": 10, "warmup_teacher_temp_epochs": 2, "warmup_teacher_temp": 0.03, "p": 0.7},
        "mask_ratio": 0.5, "normalize_target": True, "optimizer": ADAMW,
    },
    "patch8_raw_mae": {
        "config": {"img_size": 48, "patch_size": 8, "encoder_embed_dim": 40, "encoder_depth": 1, "encoder_num_heads": 2,
                   "decoder_num_classes": 192, "decoder_embed_dim": 20, "decoder_depth": 3, "decoder_num_heads": 1,
                   "mlp_ratio": 4, "dino_head_dim": 30, "dino_hidden_dim": 16, "dino_bottleneck_dim": 8},
        "loss": {"teacher_temp": 0.04, "nepochs": 10, "warmup_teacher_temp_epochs": 0, "warmup_teacher_temp": 0.04, "p": 0.0},
        "mask_ratio": 0.75, "normalize_target": False, "optimizer": ADAMW,
    },
    "patch16_distillation_alone": {
        "config": {"img_size": 80, "patch_size": 16, "encoder_embed_dim": 48, "encoder_depth": 3, "encoder_num_heads": 6,
                   "decoder_num_classes": 768, "decoder_embed_dim": 48, "decoder_depth": 2, "decoder_num_heads": 3,
                   "mlp_ratio": 3, "dino_head_dim": 64, "dino_hidden_dim": 40, "dino_bottleneck_dim": 16},
        "loss": {"teacher_temp": 0.2, "nepochs": 10, "warmup_teacher_temp_epochs": 1, "warmup_teacher_temp": 0.1, "p": 1.0},
        "mask_ratio": 0.6, "normalize_target": True, "optimizer": ADAMW,
    },
}  # fmt: skip


@pytest.fixture(scope="module", params=[*STORED, *MADE])
def case_and_replay(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tissue: Path
) -> tuple[Case, Replay]:
    scratch = tmp_path_factory.mktemp("conformance")
    if request.param in STORED:
        case = Case(REFERENCE, request.param)
    else:
        facts = MADE[request.param]
        case = make_case(scratch, request.param, facts, with_glass(tissue_crops(tissue, facts["config"]["img_size"])))
    return case, case.replay(scratch)


def with_glass(images: np.ndarray) -> np.ndarray:
    """Make the upper half of the first image glass: flat patches, whose normalisation divides rounding noise by 1e-6."""
    images = images.copy()
    images[0, : images.shape[1] // 2] = (243, 241, 244)
    return images


def relative(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference over the largest value."""
    assert ours.shape == theirs.shape
    return float((ours.detach() - theirs).abs().max() / theirs.abs().max())


def test_there_are_stored_cases() -> None:
    assert STORED, f"no cases in {REFERENCE}"


def test_outputs_and_target(case_and_replay: tuple[Case, Replay]) -> None:
    case, replay = case_and_replay
    output = replay.output
    assert output.student is not None
    assert output.teacher is not None
    ours = {"pred": output.reconstruction, "target": replay.target, "student": output.student, "teacher": output.teacher}
    errors = {name: relative(value, case.arrays[name]) for name, value in ours.items()}
    assert max(errors.values()) < 1e-5, errors


def test_losses_of_the_first_step(case_and_replay: tuple[Case, Replay]) -> None:
    case, replay = case_and_replay
    assert_losses(replay, case, step=0, tolerance=1e-5)


def test_losses_of_every_step(case_and_replay: tuple[Case, Replay]) -> None:
    case, replay = case_and_replay
    for step in range(len(case.facts["steps"])):
        assert_losses(replay, case, step, tolerance=1e-4)


def assert_losses(replay: Replay, case: Case, step: int, tolerance: float) -> None:
    ours, theirs = replay.losses[step], case.facts["steps"][step]
    assert ours.total.item() == pytest.approx(theirs["loss"], rel=tolerance)
    assert ours.distillation.item() == pytest.approx(theirs["loss_distill"], rel=tolerance)
    assert ours.reconstruction.item() == pytest.approx(theirs["loss_reconstruct"], rel=tolerance)


def test_gradients_by_parameter(case_and_replay: tuple[Case, Replay]) -> None:
    case, replay = case_and_replay
    theirs, total = case.facts["grad_norms_step0"], case.facts["steps"][0]["grad_norm_total"]
    assert replay.gradients.keys() == theirs.keys()
    for name, norm in theirs.items():  # a gradient that is 0 in theory is rounding noise here and there: measured by the total
        assert replay.gradients[name].norm().item() == pytest.approx(norm, rel=1e-4, abs=1e-8 * total), name
    ours = torch.stack([gradient.norm() for gradient in replay.gradients.values()]).norm().item()
    assert ours == pytest.approx(total, rel=1e-4)


def test_centres(case_and_replay: tuple[Case, Replay]) -> None:
    case, replay = case_and_replay
    assert relative(replay.centres[0], case.arrays["center_after_step0"]) < 1e-5
    torch.testing.assert_close(replay.centres[-1], case.arrays["center_final"], rtol=1e-5, atol=1e-5)
    for centre, step in zip(replay.centres, case.facts["steps"], strict=True):
        assert centre.norm().item() == pytest.approx(step["center_l2"], rel=1e-5)
