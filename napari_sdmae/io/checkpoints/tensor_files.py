"""Files of tensors, ``torch.save`` and safetensors: read within limits, and without running anything in them."""

from __future__ import annotations

import argparse
import pickle
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from napari_sdmae.io.checkpoints.pickle_limits import TooMuchError, check_torch_file
from napari_sdmae.io.model_info.safetensors_header import check_finite, not_finite
from napari_sdmae.text.printable import shown

Tensors = dict[str, Tensor]


def read_torch_file(path: Path) -> dict[str, Any]:
    """Read a ``torch.save`` file that holds tensors, plain values and at most an ``argparse.Namespace``; run nothing in it.

    Raises
    ------
    ValueError
        If it holds anything else, would take too much memory, or is no such file.
    """
    try:
        check_torch_file(path)
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except TooMuchError as error:
        raise ValueError(f"{path} was refused: {error}; save the weights alone, best as safetensors") from error
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} was refused: it holds Python objects other than tensors, plain values and argparse.Namespace, and such "
            f"files can run code when opened. Nothing in it was run. Ask for the weights alone, best as safetensors "
            f"({_reason(error)})"
        ) from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # a damaged file fails anywhere in the reader, in any way
        reason = shown(str(error).split("\n")[0], 200)
        raise ValueError(f"{path} is not a readable PyTorch checkpoint ({type(error).__name__}: {reason})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}; expected a dictionary of tensors")
    return content


def read_safetensors(path: Path) -> Tensors:
    """Return the tensors of a safetensors file, all of them finite; ValueError if it is damaged or none."""
    try:
        check_finite(path)
        return dict(load_file(path))
    except SafetensorError as error:
        raise ValueError(f"{path} is not a readable safetensors file ({error}); copy or convert the model again") from error


def check_tensors_finite(tensors: Tensors, path: Path) -> None:
    """Raise ValueError, with the tensor's name, if a number is NaN or infinite."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.numel() and not all(end.isfinite() for end in tensor.aminmax()):
            raise ValueError(not_finite(path, name))


def _reason(error: Exception) -> str:
    """Return what PyTorch objected to, without its advice on how to switch the check off."""
    match = re.search(r"(Unsupported (?:global|operand|class)[^.\n]*|GLOBAL [\w.]+)", str(error))
    return match[1] if match else type(error).__name__
