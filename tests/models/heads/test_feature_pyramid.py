"""Features of a plain transformer at several scales."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from napari_sdmae.models.heads.feature_pyramid import (
    FeaturePyramid,
    SimpleFeaturePyramid,
    check_blocks,
    last_tokens,
    read_blocks,
    spread_blocks,
)


def vit(**arguments: object) -> nn.Module:
    torch.manual_seed(0)
    sizes = {"img_size": 64, "embed_dim": 48, "depth": 4, "num_heads": 3, "num_classes": 0, "dynamic_img_size": True}
    return timm.create_model("vit_tiny_patch16_224", **sizes | arguments).eval()


def test_the_blocks_read_are_the_papers_and_evenly_spread() -> None:
    assert spread_blocks(12) == (3, 5, 7, 11)
    assert spread_blocks(24) == (5, 11, 17, 23)
    assert spread_blocks(4) == (0, 1, 2, 3)
    assert spread_blocks(2) == (0, 0, 1, 1)
    assert spread_blocks(3)[-1] == 2
    assert spread_blocks(12, 1) == (11,)


@pytest.mark.parametrize("blocks", [(0, 1, 2), (0, 2, 1, 3), (0, 1, 2, 4), (-1, 0, 1, 2), (0, 1, 1, 2)])
def test_blocks_that_do_not_fit_are_refused(blocks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected 4 ascending block numbers from 0 to 3"):
        check_blocks(blocks, 4, 4)


@pytest.mark.parametrize("arguments", [{}, {"class_token": True, "reg_tokens": 2}, {"class_token": False, "global_pool": "avg"}])
def test_tokens_are_those_of_a_plain_pass_and_the_last_are_normalised(arguments: dict[str, object]) -> None:
    """The oracle runs the blocks one by one; with average pooling timm keeps the final LayerNorm in fc_norm."""
    encoder, images = vit(**arguments), torch.randn(2, 3, 48, 80)
    with torch.no_grad():
        tokens = encoder.norm_pre(encoder._pos_embed(encoder.patch_embed(images)))
        passed = []
        for block in encoder.blocks:
            tokens = block(tokens)
            passed.append(tokens)
        passed[-1] = encoder.fc_norm(encoder.norm(passed[-1]))
        first, last = read_blocks(encoder, images, [1, 3])
    prefix = encoder.num_prefix_tokens
    for found, wanted in ((first, passed[1]), (last, passed[3])):
        torch.testing.assert_close(found.patches.flatten(2).transpose(1, 2), wanted[:, prefix:])
        assert found.patches.shape == (2, 48, 3, 5)
        if prefix:
            assert found.prefix is not None
            torch.testing.assert_close(found.prefix, wanted[:, :prefix])
        else:
            assert found.prefix is None
    torch.testing.assert_close(last_tokens(encoder, images).patches, last.patches)


def test_blocks_behind_the_last_one_read_are_not_computed() -> None:
    encoder = vit()
    encoder.blocks[3].register_forward_hook(lambda *_: pytest.fail("block 3 was computed"))
    assert len(read_blocks(encoder, torch.randn(1, 3, 64, 64), [0, 0, 2])) == 3


@pytest.mark.parametrize("grid", [(4, 6), (5, 3), (1, 1)])
def test_pyramids_have_four_scales(grid: tuple[int, int]) -> None:
    rows, columns = grid
    wanted = [(4 * rows, 4 * columns), (2 * rows, 2 * columns), grid, (-(-rows // 2), -(-columns // 2))]
    maps = [torch.randn(2, 16, rows, columns) for _ in range(4)]
    levels = FeaturePyramid(16)(maps)
    assert [tuple(level.shape[2:]) for level in levels] == wanted
    torch.testing.assert_close(levels[2], maps[2])
    simple = SimpleFeaturePyramid(16, 8)(maps[0])
    assert [tuple(level.shape[1:]) for level in simple] == [(8, *size) for size in wanted]
