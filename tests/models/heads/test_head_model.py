"""Encoder and head together: what is trained, at which rate, in which precision."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from tiny_heads import ENCODER, noise, tiny_head

from napari_sdmae.config.finetune import EncoderConfig
from napari_sdmae.models.encoder import set_attention
from napari_sdmae.models.heads.head_model import HeadModel, parameter_groups, set_trainable

TASKS = ["segmentation", "instances", "classification"]


def names(model: HeadModel) -> set[str]:
    return {name for name, weight in model.named_parameters() if weight.requires_grad}


def first_values(output: Any) -> torch.Tensor:
    return output if isinstance(output, torch.Tensor) else output[0]


def test_layer_decay_equals_a_table_made_by_hand() -> None:
    """Two blocks, decay 0.5: embedding 0.5³, blocks 0.5² and 0.5, final norm and head 1, as in BEiT and MAE."""
    model = tiny_head("classification", encoder={"depth": 2})
    model.encoder.pos_embed.requires_grad_(True)
    table = {
        "encoder.pos_embed": (0.125, 0.0), "encoder.patch_embed.proj.weight": (0.125, 0.1),
        "encoder.patch_embed.proj.bias": (0.125, 0.0), "encoder.blocks.0.norm1.weight": (0.25, 0.0),
        "encoder.blocks.0.attn.qkv.weight": (0.25, 0.1), "encoder.blocks.0.attn.qkv.bias": (0.25, 0.0),
        "encoder.blocks.1.mlp.fc2.weight": (0.5, 0.1), "encoder.blocks.1.mlp.fc2.bias": (0.5, 0.0),
        "encoder.norm.weight": (1.0, 0.0), "encoder.norm.bias": (1.0, 0.0),
        "head.0.weight": (1.0, 0.0), "head.1.weight": (1.0, 0.1), "head.1.bias": (1.0, 0.0),
    }  # fmt: skip
    groups = parameter_groups(model, EncoderConfig(layer_decay=0.5), weight_decay=0.1)
    found = {id(weight): (group["lr_scale"], group["weight_decay"]) for group in groups for weight in group["params"]}
    parameters = dict(model.named_parameters())
    assert {name: found[id(parameters[name])] for name in table} == table
    assert len(found) == len(parameters) == sum(len(group["params"]) for group in groups)
    torch.optim.AdamW(groups, lr=1e-3)


def test_tokens_are_not_decayed_and_blocks_without_decay_have_the_full_rate() -> None:
    model = tiny_head("segmentation")
    model.encoder.cls_token = torch.nn.Parameter(torch.zeros(1, 1, 48))
    groups = parameter_groups(model, EncoderConfig(layer_decay=1.0), 0.05)
    assert {group["lr_scale"] for group in groups} == {1.0}
    undecayed = {id(weight) for group in groups if group["weight_decay"] == 0 for weight in group["params"]}
    assert id(model.encoder.cls_token) in undecayed
    matrices = {id(weight) for name, weight in model.named_parameters() if weight.ndim > 1 and name.startswith("head")}
    assert not matrices & undecayed


@pytest.mark.parametrize("classifier", ["linear_probe", "knn"])
def test_probes_keep_the_encoder_as_it_is(classifier: str) -> None:
    model = tiny_head("classification", head={"classifier": classifier}, encoder={"drop_path": 0.5})
    set_trainable(model, EncoderConfig(train="full"), model.spec.head)
    assert names(model) == ({"head.1.weight", "head.1.bias"} if classifier == "linear_probe" else set())
    assert len(parameter_groups(model, EncoderConfig(), 0.05)) == (2 if classifier == "linear_probe" else 0)


@pytest.mark.parametrize("task", TASKS)
def test_a_frozen_encoder_stays_in_use_mode(task: str) -> None:
    """No drop path: two passes while training agree, and no gradient reaches the encoder."""
    model = tiny_head(task, encoder={"drop_path": 0.9})
    set_trainable(model, EncoderConfig(train="frozen"), model.spec.head)
    model.train()
    assert model.head.training
    assert not any(module.training for module in model.encoder.modules())
    assert all(name.startswith("head.") for name in names(model))
    images = noise(model, 2)
    torch.testing.assert_close(first_values(model(images)), first_values(model(images)))


def test_partial_training_is_of_the_last_blocks_and_the_norm() -> None:
    model = tiny_head("classification", encoder={"drop_path": 0.5})
    set_trainable(model.train(), EncoderConfig(train="partial", last_blocks=1), model.spec.head)
    trained = {name.split(".")[1] + "." + name.split(".")[2] for name in names(model) if name.startswith("encoder")}
    assert trained == {"blocks.3", "norm.weight", "norm.bias"}
    assert [block.training for block in model.encoder.blocks] == [False, False, False, True]
    assert model.encoder.training


def test_full_training_keeps_fixed_position_codes_and_unread_blocks() -> None:
    model = tiny_head("segmentation", head={"blocks": (0, 1), "decoder": "linear"})
    set_trainable(model, EncoderConfig(), model.spec.head)
    assert "encoder.pos_embed" not in names(model)
    assert not [name for name in names(model) if name.startswith(("encoder.blocks.2", "encoder.blocks.3", "encoder.norm"))]
    model.train()(noise(model)).logits.sum().backward()
    assert all(weight.grad is not None for weight in model.parameters() if weight.requires_grad)


@pytest.mark.parametrize("task", TASKS)
def test_every_trained_weight_gets_a_gradient(task: str) -> None:
    """As distributed training requires."""
    model = tiny_head(task, encoder={"drop_path": 0})
    set_trainable(model, EncoderConfig(), model.spec.head)
    output = model.train()(noise(model, 2))
    total = sum(part.sum() for part in ([output] if task == "classification" else output) if part is not None)
    total.backward()
    assert [name for name, weight in model.named_parameters() if weight.requires_grad and weight.grad is None] == []


def test_drop_path_grows_with_the_block_and_is_off_in_use() -> None:
    model = tiny_head("classification", encoder={"drop_path": 0.3})
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in model.encoder.blocks]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3])
    images = noise(model, 4)
    assert torch.equal(model(images), model(images))
    model.train()
    assert not torch.equal(model(images), model(images))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("decoder", ["linear", "unet", "upernet", "dpt"])
def test_half_precision_trains(task: str, decoder: str) -> None:
    model = tiny_head(task, head={"decoder": decoder}, encoder={"drop_path": 0}).train()
    set_attention(model, explicit=True)
    images = noise(model, 2)
    with torch.autocast("cpu", torch.bfloat16):
        half = first_values(model(images))
    half.float().sum().backward()
    torch.testing.assert_close(half.float(), first_values(model(images)), rtol=0.1, atol=0.1)
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in model.parameters())


def test_the_key_bias_is_held() -> None:
    model = tiny_head("classification").train()
    bias = model.encoder.blocks[0].attn.qkv.bias
    model(noise(model, 2)).square().sum().backward()
    query, key, value = bias.grad.chunk(3)
    assert query.abs().sum() > 0
    assert key.abs().sum() == 0
    assert value.abs().sum() > 0


def test_a_copy_is_whole() -> None:
    for task in (*TASKS, "detection"):
        model = tiny_head(task)
        images = noise(model)
        wanted = model(images)
        copied = copy.deepcopy(model)
        with torch.no_grad():
            for weight in model.parameters():
                weight.zero_()
        if task == "detection":
            assert torch.equal(copied(images)[0]["scores"], wanted[0]["scores"])
        else:
            assert torch.equal(first_values(copied(images)), first_values(wanted))


def test_normalise_takes_pixels_as_they_come() -> None:
    model = tiny_head("classification")
    pixels = torch.randint(0, 256, (2, 32, 48, 3), dtype=torch.uint8)
    wanted = (pixels.permute(0, 3, 1, 2) / 255 - model.mean) / model.std
    torch.testing.assert_close(model.normalise(pixels), wanted)
    torch.testing.assert_close(model.normalise(pixels.permute(0, 3, 1, 2) / 255), wanted)
    assert ENCODER["patch_size"] == model.spec.encoder.patch_size
