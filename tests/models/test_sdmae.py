"""The model on any plain vision transformer: shapes, what each part may see, what trains, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from reference_case import tissue_crops
from torch import Tensor

from napari_sdmae.config.pretrain import LossConfig, ModelConfig
from napari_sdmae.models import SDMAE, freeze_unused, set_attention
from napari_sdmae.models.encoder import build_encoder, encode_visible
from napari_sdmae.models.patches import patchify

SMALL_HEADS = {"head": "projection", "head_hidden": 32, "head_bottleneck": 16, "head_outputs": 24}
TINY = {
    "encoder": "vit_tiny_patch16_224", "tile_size": 64, "patch_size": 16, "encoder_depth": 2,
    "decoder_width": 48, "decoder_depth": 1, **SMALL_HEADS,
}  # fmt: skip

REGISTERS = {"encoder": "vit_small_patch14_reg4_dinov2", "patch_size": 14, "tile_size": 56}


def config(**changes: Any) -> ModelConfig:
    return ModelConfig.model_validate(TINY | changes)


def random_masks(count: int, patches: int, masked: int, seed: int = 0) -> Tensor:
    return torch.rand(count, patches, generator=torch.Generator().manual_seed(seed)).argsort(1) < masked


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"patch_size": 8, "position": "sincos1d"},
        {"encoder": "vit_small_patch16_224.augreg_in21k", "patch_size": 14, "tile_size": 56, "class_token": True},
        {"encoder": "vit_base_patch16_224", "encoder_depth": 1, "position": "encoder", "class_token": True},
        REGISTERS | {"class_token": True, "position": "encoder"},
        REGISTERS,
        {"encoder": "vit_base_patch16_clip_224", "encoder_depth": 1, "class_token": True},
        {"encoder": "deit3_small_patch16_224", "class_token": True},
        {"encoder_width": 72, "encoder_heads": 4, "mlp_ratio": 2.0},
    ],
)  # fmt: skip
def test_any_plain_vision_transformer(changes: dict[str, Any], tissue: Path) -> None:
    """Outputs have the right shape for the tile size and another one, and every trainable parameter gets a gradient."""
    model = SDMAE(config(**changes))
    tile, patch = model.config.tile_size, model.config.patch_size
    for height, width in ((tile, tile), (2 * tile, tile + patch)):
        count = height // patch * (width // patch)
        masked = count * 3 // 5
        images = model.normalise(torch.from_numpy(tissue_crops(tissue, 128, 2)))[:, :, :height, :width]
        output = model(images, random_masks(2, count, masked))
        assert output.reconstruction.shape == (2, masked, patch * patch * 3)
        assert output.student is not None
        assert output.teacher is not None
        assert output.student.shape == output.teacher.shape == (2, 24)
        model.zero_grad()
        (output.reconstruction.square().mean() + output.student.square().mean() + output.teacher.square().mean()).backward()
        without = [name for name, weight in model.named_parameters() if weight.requires_grad and weight.grad is None]
        assert without == []
    assert model.encoder.pos_embed.requires_grad == (model.config.position == "encoder")


@pytest.mark.parametrize(
    ("changes", "published"),
    [
        ({"encoder": "vit_tiny_patch16_224", "decoder_depth": 2, "decoder_heads": 2}, 18_896_768),
        ({}, 36_317_120),
        ({"decoder_depth": 8}, 38_095_808),
        ({"tile_size": 96, "patch_size": 8}, 35_984_768),
    ],
)
def test_as_many_parameters_as_published(changes: dict[str, Any], published: int) -> None:
    """Beside theirs we store key biases (held at 0), and not the two heads' gains (fixed at 1)."""
    with torch.device("meta"):
        model = SDMAE(ModelConfig.model_validate({"position": "sincos1d", "head": "projection"} | changes))
    ours = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    blocks = (*model.encoder.blocks, *model.decoder.blocks)
    assert ours - sum(block.attn.qkv.bias.numel() // 3 for block in blocks) + 2 * 4096 == published


@pytest.mark.parametrize("name", ["vit_small_patch14_reg4_dinov2", "vit_base_patch16_clip_224", "vit_tiny_patch16_224"])
def test_encoding_all_patches_is_timms_own_forward(name: str) -> None:
    vit = build_encoder(config(encoder=name, patch_size=16, class_token=True, position="encoder", encoder_depth=2)).eval()
    for size in ((64, 64), (96, 48)):
        images = torch.randn(2, 3, *size)
        grid = size[0] // 16, size[1] // 16
        index = torch.arange(grid[0] * grid[1]).expand(2, -1)
        with torch.no_grad():
            ours = encode_visible(vit, patchify(images, 16), index, grid)
            torch.testing.assert_close(ours, vit.forward_features(images), rtol=1e-4, atol=1e-5)


def test_masked_pixels_are_seen_by_nobody(tissue: Path) -> None:
    model, mask = SDMAE(config()), random_masks(2, 16, 10)
    images = model.normalise(torch.from_numpy(tissue_crops(tissue, 64, 2)))
    hidden = mask.view(2, 1, 4, 4).repeat_interleave(16, 2).repeat_interleave(16, 3)
    before, after = model(images, mask), model(images.masked_fill(hidden, 9.0), mask)
    for ours, theirs in zip(before, after, strict=True):
        assert torch.equal(ours, theirs)
    changed = model(images.masked_fill(~hidden, 9.0), mask)
    assert not torch.allclose(before.reconstruction, changed.reconstruction)


def test_the_student_sees_no_decoder_and_the_teacher_does(tissue: Path) -> None:
    model = SDMAE(config())
    images, mask = model.normalise(torch.from_numpy(tissue_crops(tissue, 64, 2))), random_masks(2, 16, 10)
    before = model(images, mask)
    with torch.no_grad():
        model.mask_token += 1
    after = model(images, mask)
    assert torch.equal(before.student, after.student)
    assert not torch.allclose(before.teacher, after.teacher)


def test_logits_of_each_token_average_to_those_of_the_image() -> None:
    model = SDMAE(config())
    images, mask = torch.randn(2, 3, 64, 64), random_masks(2, 16, 10)
    image, token = model(images, mask), model(images, mask, per_token=True)
    assert token.student.shape == token.teacher.shape == (2, 6, 24)
    torch.testing.assert_close(token.student.mean(1), image.student)
    torch.testing.assert_close(token.teacher.mean(1), image.teacher)
    assert token.student.abs().max() <= 1  # cosines


def test_embeddings_are_unit_vectors_of_patches_and_of_whole_images() -> None:
    model = SDMAE(config(head="embedding"))
    images, mask = torch.randn(3, 3, 64, 64), random_masks(3, 16, 9)
    assert (model.student_head(torch.randn(3, 5, 192)).shape, model.teacher_head(torch.randn(3, 5, 48)).shape) == (
        (3, 16),
        (3, 16),
    )
    for per_token, shape in ((False, (3, 16)), (True, (3, 7, 16))):
        output = model(images, mask, per_token=per_token)
        for values in (output.student, output.teacher):
            assert values.shape == shape
            torch.testing.assert_close(values.norm(dim=-1), torch.ones(shape[:-1]))


def test_compared_patches_are_found_wherever_they_stand() -> None:
    """Students are those of visible patches; teachers also of masked ones, where the decoder has to guess."""
    model = SDMAE(config(head="embedding")).eval()
    images, mask = torch.randn(2, 3, 64, 64), random_masks(2, 16, 9)
    visible, hidden = (~mask).nonzero()[:, 1].view(2, 7), mask.nonzero()[:, 1].view(2, 9)
    output = model(images, mask, pair_indices=(visible[:, [4, 1]], torch.stack([hidden[:, 8], visible[:, 3]], 1)))
    tokens = encode_visible(model.encoder, patchify(images, 16), visible, (4, 4))
    decoded, _ = model.decoder(model.encoder_to_decoder(tokens), model.mask_token, visible, hidden, (4, 4))
    student = torch.stack([tokens.mean(1), tokens[:, 4], tokens[:, 1]], 1)
    teacher = torch.stack([decoded[:, :7].mean(1), decoded[:, 7 + 8], decoded[:, 3]], 1)
    torch.testing.assert_close(output.student, model.student_head(student, per_token=True))
    torch.testing.assert_close(output.teacher, model.teacher_head(teacher, per_token=True))


def test_heads_can_be_left_out() -> None:
    model = SDMAE(config())
    images, mask = torch.randn(2, 3, 64, 64), random_masks(2, 16, 10)
    output = model(images, mask, masked=10, heads=False)
    assert output.student is None
    assert output.teacher is None
    assert torch.equal(output.reconstruction, model(images, mask).reconstruction)


def test_predictor_predicts_decoder_tokens() -> None:
    model = SDMAE(config(head="predictor"))
    output = model(torch.randn(2, 3, 64, 64), random_masks(2, 16, 10), per_token=True)
    assert output.student.shape == output.teacher.shape == (2, 6, 48)
    torch.testing.assert_close(output.teacher.mean(-1), torch.zeros(2, 6), atol=1e-5, rtol=0)  # after the decoder's LayerNorm
    assert not [name for name, _ in model.named_parameters() if name.startswith("teacher_head")]


def test_explicit_and_fused_attention_agree() -> None:
    model = SDMAE(config())
    images, mask, outputs = torch.randn(2, 3, 64, 64), random_masks(2, 16, 10), []
    for explicit in (True, False):
        set_attention(model, explicit=explicit)
        assert {block.attn.fused_attn for block in (*model.encoder.blocks, *model.decoder.blocks)} == {not explicit}
        outputs.append(model(images, mask))
    for ours, theirs in zip(*outputs, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_key_bias_stays_zero_while_query_and_value_bias_train() -> None:
    model = SDMAE(config())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for seed in range(2):
        output = model(torch.randn(2, 3, 64, 64), random_masks(2, 16, 10, seed))
        optimizer.zero_grad()
        (output.reconstruction.square().mean() + output.student.square().mean()).backward()
        optimizer.step()
    for block in (*model.encoder.blocks, *model.decoder.blocks):
        query, key, value = block.attn.qkv.bias.detach().chunk(3)
        assert query.abs().max() > 0
        assert not key.any()
        assert value.abs().max() > 0


@pytest.mark.parametrize(
    ("loss", "frozen"),
    [
        (LossConfig(p=0), {"student_head", "teacher_head"}),
        (LossConfig(), set()),
        (LossConfig(teacher_gradient=False), {"teacher_head"}),
        (LossConfig.paper(), set()),
    ],
)
def test_heads_without_gradient_are_taken_from_training(loss: LossConfig, frozen: set[str]) -> None:
    model = SDMAE(config())
    freeze_unused(model, loss)
    assert {name.split(".")[0] for name, weight in model.named_parameters() if not weight.requires_grad} - {"encoder"} == frozen


def test_initial_weights() -> None:
    model = SDMAE(config(class_token=True, encoder_depth=1, head_hidden=256))
    qkv, fc1 = model.encoder.blocks[0].attn.qkv, model.decoder.blocks[0].mlp.fc1
    for layer in (qkv, fc1, model.decoder.head):
        bound = (6 / (layer.in_features + layer.out_features)) ** 0.5
        assert 0.9 * bound < layer.weight.abs().max() <= bound
        assert not layer.bias.any()
    for layer in (model.student_head.mlp[0], model.teacher_head.mlp[4]):
        assert 0.018 < layer.weight.abs().max() <= 0.02 + 1e-7  # cut at one standard deviation
        assert not layer.bias.any()
    assert model.mask_token.std().item() == pytest.approx(0.02, rel=0.4)
    assert model.encoder_to_decoder.weight.abs().max() <= 192**-0.5  # PyTorch's default


def test_bf16_autocast_stays_close_and_gives_float32_logits() -> None:
    model = SDMAE(config())
    images, mask = torch.randn(2, 3, 64, 64), random_masks(2, 16, 10)
    exact = model(images, mask)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(images, mask)
    assert rounded.student.dtype == torch.float32
    for ours, theirs in zip(rounded, exact, strict=True):
        assert (ours - theirs).norm() < 0.02 * theirs.norm()


def test_pixels_are_normalised() -> None:
    model = SDMAE(config(mean=(0.7, 0.5, 0.6), std=(0.1, 0.2, 0.3)))
    pixels = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    images = model.normalise(pixels)
    assert images.shape == (2, 3, 64, 64)
    torch.testing.assert_close(images[0, 1, 5, 7].item(), (pixels[0, 5, 7, 1].item() / 255 - 0.5) / 0.2, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": "swin_tiny_patch4_window7_224"}, "plain vision transformer"),
        ({"encoder": "resnet50"}, "plain vision transformer"),
        ({"encoder": "vit_small_r26_s32_224"}, "plain vision transformer"),
        ({"encoder": "eva02_tiny_patch14_224", "patch_size": 14, "tile_size": 56}, "plain vision transformer"),
        ({"encoder": "vit_smal_patch16_224"}, "timm has no model 'vit_smal_patch16_224'; did you mean .*vit_small_patch16_224"),
        ({"encoder_width": 100}, "width that its heads divide"),
        ({"encoder_width": 18, "encoder_heads": 3}, "divisible by 4, got 18"),
    ],
)
def test_encoders_that_cannot_be_used_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SDMAE(config(**changes))


@pytest.mark.parametrize(
    ("size", "mask", "message"),
    [
        ((64, 64), random_masks(2, 9, 4), "does not fit 2 images of 4 x 4 patches"),
        ((64, 60), random_masks(2, 12, 4), "64 x 60 px cannot be cut into 16 px patches"),
        ((64, 64), torch.arange(32).view(2, 16) < 20, "same number of masked patches, got 4 to 16"),
    ],
)
def test_masks_and_images_that_do_not_fit_are_refused(size: tuple[int, int], mask: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SDMAE(config())(torch.randn(2, 3, *size), mask)
