"""Every answer from a GPU that computes nothing: what is asked of it comes back as arrays, and nothing else is read of it."""

import numpy as np
import pytest
import torch
from fake_gpu import GPU
from test_heads_on_gpu import COUNTED
from tiny_heads import tiny_head

from napari_sdmae.config.pretrain import ModelConfig
from napari_sdmae.devices.precision import autocast
from napari_sdmae.inference.attention.encode import encode_field
from napari_sdmae.inference.attention.maps import attention_maps
from napari_sdmae.inference.embedding.embed import embed
from napari_sdmae.inference.prediction.predict import predict
from napari_sdmae.inference.reconstruction import reconstruct
from napari_sdmae.inference.scribbles.classifier import blend, encode_windows, sample
from napari_sdmae.io.checkpoints.load import Encoder
from napari_sdmae.io.images.pictures import ArrayPicture
from napari_sdmae.models.sdmae import SDMAE

IMAGE = np.zeros((40, 56, 3), np.uint8)
TINY = ModelConfig(
    encoder_width=32, encoder_depth=1, encoder_heads=2, tile_size=32, patch_size=8, class_token=True,
    decoder_width=24, decoder_depth=1, decoder_heads=2, head_hidden=16, head_bottleneck=8,
)  # fmt: skip


@pytest.fixture
def model(gpu):
    return SDMAE(TINY).to(GPU).eval()


@pytest.fixture
def encoder(model):
    return Encoder(model.encoder, TINY.mean, TINY.std, TINY.patch_size, TINY.tile_size, 0.5, "tiny")


def test_reconstruction(model):
    assert reconstruct(model, IMAGE, target_normalisation="patch").reconstruction.shape == IMAGE.shape


def test_attention_by_every_method(encoder):
    state = encode_field(encoder, IMAGE)
    for method in ("received", "query", "class_token", "rollout", "pca", "similarity"):
        for head in ("mean", 1, "grid"):
            found = attention_maps(state, method=method, head=head, query=(3, 5))
            assert isinstance(found.values, np.ndarray)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_embedding(encoder, precision):
    for pool, shape in (("mean", (2, 32)), ("tokens", (2, 16, 32))):
        first = next(embed(encoder, ArrayPicture(IMAGE, 0.5, "x"), pool=pool, autocast=autocast(GPU, precision)))
        assert first.features.shape == shape


def test_scribbles(encoder):
    field = encode_windows(encoder, IMAGE)
    assert field.tokens.device.type == "cpu"  # small fits and blends are faster there
    one = np.ones(3, np.int64)
    assert sample(field, np.full((3, 2), 9, np.float32), one, one).features.shape[1] == 32
    assert blend(field, lambda features: np.zeros((len(features), 2), np.float32)).shape == (2, 40, 56)


HEADS = {
    "segmentation": {"decoder": "linear"},
    "instances": {"decoder": "linear"},
    "classification": {"classifier": "linear_probe"},
    "neighbours": {"classifier": "knn"},
    "detection": {"detector": "faster_rcnn"},
    "single-stage detection": {"detector": "retinanet"},
}


@pytest.mark.parametrize("name", HEADS)
def test_prediction(gpu, name):
    gpu.stand_ins = COUNTED | dict.fromkeys(
        (
            "torchvision/models/detection/roi_heads.py:postprocess_detections",
            "torchvision/models/detection/retinanet.py:postprocess_detections",
        ),
        "boxes of a low score are left out",
    )
    task = "classification" if name == "neighbours" else name.rsplit(" ", 1)[-1]
    model = tiny_head(task, head=HEADS[name], encoder={"depth": 1}).to(GPU).eval()
    if name == "neighbours":
        model.head.extend(torch.zeros(3, 48, device=GPU), torch.zeros(3, dtype=torch.int64, device=GPU))
    for precision in ("fp32", "bf16") if task != "detection" else ("bf16",):
        assert predict(model, IMAGE, mpp=None, autocast=autocast(GPU, precision)) is not None
