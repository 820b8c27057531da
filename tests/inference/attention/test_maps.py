"""Every attention map against a slow NumPy oracle, made of what plain timm computes on real tissue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from timm.models.vision_transformer import VisionTransformer

from napari_sdmae.config.pretrain import IMAGENET_MEAN, IMAGENET_STD
from napari_sdmae.inference import attention_maps, encode_field
from napari_sdmae.inference.attention.encode import AttentionState
from napari_sdmae.io.checkpoints.load import Encoder
from napari_sdmae.io.images.field import InvalidFieldError, fit_to_patches

Array = NDArray[np.float64]

HEADS, DEPTH, PATCH = 3, 3, 16
VARIANTS = {
    "patches": {"class_token": False, "global_pool": "", "fc_norm": False},
    "class": {"class_token": True},
    "registers": {"class_token": True, "reg_tokens": 4, "qk_norm": True, "init_values": 0.1},
}


def hooked(vit: VisionTransformer, images: torch.Tensor) -> list[dict[str, Array]]:
    """Run plain timm on one image; return per block the input and output of its attention, q·k·v and the block's output."""
    seen: list[dict[str, Array]] = [{} for _ in vit.blocks]

    def keep(into: dict[str, Array], name: str) -> Any:
        def hook(_module: Any, _inputs: Any, output: torch.Tensor) -> None:
            into[name] = output[0].double().numpy()

        return hook

    handles = []
    for block, into in zip(vit.blocks, seen, strict=True):
        attn = block.attn
        watched = {"q": attn.q_norm, "k": attn.k_norm, "qkv": attn.qkv, "attended": attn, "tokens": block}
        handles += [module.register_forward_hook(keep(into, name)) for name, module in watched.items()]
    with torch.no_grad():
        vit.forward_features(images)
    for handle in handles:
        handle.remove()
    return seen


def values(qkv: Array) -> Array:
    """Return v (heads, N, width / heads) of timm's (N, 3 · width)."""
    count, width = qkv.shape
    return qkv.reshape(count, 3, HEADS, width // 3 // HEADS)[:, 2].transpose(1, 0, 2)


def softmax(scores: Array) -> Array:
    exponents = np.exp(scores - scores.max(-1, keepdims=True))
    return exponents / exponents.sum(-1, keepdims=True)


def attention(part: dict[str, Array]) -> Array:
    """Return A (heads, N, N)."""
    return np.stack([softmax(query @ key.T / np.sqrt(query.shape[-1])) for query, key in zip(part["q"], part["k"], strict=True)])


def share(weights: Array) -> Array:
    return weights / weights.sum(-1, keepdims=True)


def received(matrix: Array, prefix: int) -> Array:
    """Return per head how much each patch receives from the patches on average, (heads, L), not yet made to sum to 1."""
    heads, count, _ = matrix.shape
    result = np.zeros((heads, count - prefix))
    for head in range(heads):
        for j in range(prefix, count):
            result[head, j - prefix] = sum(matrix[head, i, j] for i in range(prefix, count)) / (count - prefix)
    return result


def rollout(matrices: list[Array]) -> Array:
    """Return the product of ½A + ½I over blocks, first block rightmost, (N, N)."""
    result = np.eye(matrices[0].shape[1])
    for matrix in matrices:
        mixed = 0.5 * matrix.mean(0) + 0.5 * np.eye(len(result))
        mixed = mixed / mixed.sum(1, keepdims=True)
        result = mixed @ result
    return result


def distance(matrix: Array, grid: tuple[int, int], cell: int, prefix: int) -> Array:
    """Return (2, heads, L): attention of each patch to patches times its distance in pixels, and without."""
    places = [(row * cell, column * cell) for row in range(grid[0]) for column in range(grid[1])]
    result = np.zeros((2, len(matrix), len(places)))
    for head, rows in enumerate(matrix):
        for i, here in enumerate(places):
            for there, weight in zip(places, rows[prefix + i, prefix:], strict=True):
                result[:, head, i] += weight * np.hypot(here[0] - there[0], here[1] - there[1]), weight
    return result


def layer_norm(tokens: Array, norm: torch.nn.LayerNorm) -> Array:
    centred = tokens - tokens.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + norm.eps)
    return scaled * norm.weight.detach().double().numpy() + norm.bias.detach().double().numpy()


def make_encoder(variant: str) -> Encoder:
    torch.manual_seed(1)
    sizes = {"img_size": 64, "patch_size": PATCH, "embed_dim": 48, "depth": DEPTH, "num_heads": HEADS, "num_classes": 0}
    vit = VisionTransformer(**sizes, **VARIANTS[variant], dynamic_img_size=True).eval()
    with torch.no_grad():
        for block in vit.blocks:
            block.attn.qkv.weight *= 8  # random weights attend almost evenly: sharpen them, so that errors show
    return encoder_of(vit)


def encoder_of(vit: VisionTransformer) -> Encoder:
    return Encoder(vit=vit, mean=IMAGENET_MEAN, std=IMAGENET_STD, patch_size=PATCH, tile_size=64, mpp=0.5, name="random")


@pytest.fixture(scope="module")
def field(tissue: Path) -> NDArray[np.uint8]:
    """Real tissue of a size that is no multiple of the patch: 5 × 7 patches."""
    tile = sorted(tissue.glob("tiles/*/*.jpg"))[0]
    return np.asarray(Image.open(tile).convert("RGB"))[:75, :100]


@pytest.fixture(scope="module", params=list(VARIANTS))
def case(request: pytest.FixtureRequest, field: NDArray[np.uint8]) -> tuple[AttentionState, list[dict[str, Array]], Encoder]:
    """State of the package, and what hooks on plain timm saw."""
    encoder = make_encoder(request.param)
    padded = np.pad(field, ((0, 5), (0, 12), (0, 0)), mode="reflect")
    pixels = torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 255
    mean, std = (torch.tensor(part).view(1, 3, 1, 1) for part in (IMAGENET_MEAN, IMAGENET_STD))
    return encode_field(encoder, field), hooked(encoder.vit, (pixels - mean) / std), encoder


def matrices(case: tuple[AttentionState, list[dict[str, Array]], Encoder]) -> list[Array]:
    return [attention(part) for part in case[1]]


def close(found: NDArray[Any], expected: Array, tolerance: float = 2e-5) -> None:
    shaped = np.asarray(found, np.float64).reshape(expected.shape)
    np.testing.assert_allclose(shaped, expected, rtol=tolerance * 10, atol=tolerance)


def test_attention_is_what_the_block_uses(case: Any) -> None:
    """A·v, projected, is the output of timm's attention."""
    state, seen, encoder = case
    for index, (block, part) in enumerate(zip(encoder.vit.blocks, seen, strict=True)):
        rows = state.rows(index, 0, state.count).double().numpy()
        mixed = (rows @ values(part["qkv"])).transpose(1, 0, 2).reshape(state.count, -1)
        weight, bias = (tensor.detach().double().numpy() for tensor in (block.attn.proj.weight, block.attn.proj.bias))
        close(mixed @ weight.T + bias, part["attended"])


@pytest.mark.parametrize("block", [0, 1, -1])
def test_received(case: Any, block: int) -> None:
    state, _, _ = case
    truth = received(matrices(case)[block], state.prefix)
    close(attention_maps(state, method="received", block=block).values, share(truth.mean(0)))
    grid = attention_maps(state, method="received", block=block, head="grid").values
    close(grid, share(truth))
    for head in range(HEADS):
        np.testing.assert_array_equal(attention_maps(state, method="received", block=block, head=head).values, grid[head])


def test_received_numbers(case: Any) -> None:
    state, _, _ = case
    answer = attention_maps(state, method="received", head="grid")
    r = share(received(matrices(case)[-1], state.prefix))
    close(np.array(answer.entropy), np.array([-sum(p * np.log(p) for p in row) for row in r]))
    close(np.array(answer.gini), np.array([np.abs(row[:, None] - row).sum() / (2 * len(row) * row.sum()) for row in r]))
    travelled, mass = distance(matrices(case)[-1], (5, 7), PATCH, state.prefix).sum(-1)
    close(np.array(answer.distance_px), travelled / mass, 1e-3)


@pytest.mark.parametrize(("position", "patch"), [((0, 0), 0), ((40.0, 50.0), 2 * 7 + 3), ((74, 99), 4 * 7 + 6), ((15.6, 0), 7)])
def test_query(case: Any, position: tuple[float, float], patch: int) -> None:
    state, _, _ = case
    rows = matrices(case)[1][:, state.prefix + patch, state.prefix :]
    answer = attention_maps(state, method="query", block=1, head="grid", query=position)
    assert answer.query == divmod(patch, 7)
    close(answer.values, share(rows))
    close(attention_maps(state, method="query", block=1, query=position).values, share(rows.mean(0)))
    travelled, mass = distance(matrices(case)[1], (5, 7), PATCH, state.prefix)[..., patch]
    close(np.array(answer.distance_px), travelled / mass, 1e-3)


def test_class_token(case: Any) -> None:
    state, _, _ = case
    if not state.class_token:
        with pytest.raises(ValueError, match="no class token"):
            attention_maps(state, method="class_token")
        return
    rows = matrices(case)[-1][:, 0, state.prefix :]
    close(attention_maps(state, method="class_token", head="grid").values, share(rows))


@pytest.mark.parametrize("block", [0, 1, 2])
def test_rollout(case: Any, block: int) -> None:
    state, _, _ = case
    truth = rollout(matrices(case)[: block + 1])[state.prefix :, state.prefix :]
    close(attention_maps(state, method="rollout", block=block).values, share(truth.mean(0)))
    close(attention_maps(state, method="rollout", block=block, query=(40, 50)).values, share(truth[17]))


def test_similarity(case: Any) -> None:
    state, seen, encoder = case
    tokens = layer_norm(seen[1]["tokens"], encoder.vit.norm)[state.prefix :]
    truth = np.array([tokens[17] @ other / np.linalg.norm(tokens[17]) / np.linalg.norm(other) for other in tokens])
    close(attention_maps(state, method="similarity", block=1, query=(40, 50)).values, truth)


def test_last_tokens_are_the_features_of_the_encoder(case: Any) -> None:
    state, seen, encoder = case
    close(state.normed_tokens(DEPTH - 1).numpy(), layer_norm(seen[-1]["tokens"], encoder.vit.norm)[state.prefix :])


def test_rows_in_chunks_change_nothing(case: Any, monkeypatch: pytest.MonkeyPatch, field: NDArray[np.uint8]) -> None:
    state, _, encoder = case
    questions: list[dict[str, Any]] = [{"head": "grid"}, {"method": "rollout"}, {"method": "rollout", "query": (3, 3)}]
    whole = [attention_maps(state, **question) for question in questions]
    monkeypatch.setattr("napari_sdmae.inference.attention.encode.CHUNK_BYTES", 4 * HEADS * state.count * 4)
    monkeypatch.setattr("napari_sdmae.inference.attention.encode.MEAN_BYTES", 0)
    fresh = encode_field(encoder, field)
    for question, before in zip(questions, whole, strict=True):
        after = attention_maps(fresh, **question)
        np.testing.assert_allclose(after.values, before.values, rtol=1e-5)
        np.testing.assert_allclose(after.distance_px, before.distance_px, rtol=1e-5)


def test_hooks_leave_the_encoder_as_it_was(case: Any) -> None:
    assert not any(module._forward_hooks for module in case[2].vit.modules())
    encoder = make_encoder("patches")
    encoder.vit.blocks[1].attn.fused_attn = False
    encode_field(encoder, np.zeros((16, 16, 3), np.uint8))
    assert [block.attn.fused_attn for block in encoder.vit.blocks] == [True, False, True]


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"method": "magic"}, "unknown method 'magic'"),
        ({"block": 3}, "blocks 0 to 2"),
        ({"block": -4}, "blocks 0 to 2"),
        ({"head": 3}, "choose mean, grid, or 0 to 2"),
        ({"head": "all"}, "choose mean, grid, or 0 to 2"),
        ({"method": "query"}, "needs a query patch"),
        ({"method": "similarity"}, "needs a query patch"),
    ],
)
def test_impossible_questions_say_what_is_possible(case: Any, question: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attention_maps(case[0], **question)


def test_other_transformers_are_refused(field: NDArray[np.uint8]) -> None:
    rotary = timm.create_model("eva02_tiny_patch14_224", num_classes=0)
    with pytest.raises(ValueError, match="Eva cannot be read; use a plain vision transformer"):
        encode_field(encoder_of(rotary), field)


def test_too_large_a_field_says_what_to_do() -> None:
    glass = np.zeros((2000, 1040, 3), np.uint8)
    with pytest.raises(InvalidFieldError, match=r"8125 patches of 16 px.* at most 1024 x 1024 px, or downsample by 2"):
        fit_to_patches(glass, 16)
    picture, grid = fit_to_patches(glass, 16, downsample=2)
    assert picture.shape == (1008, 528, 3)
    assert (grid.rows, grid.columns, grid.cell) == (63, 33, 32)
