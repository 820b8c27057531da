"""A GPU that computes nothing: shapes, types and devices are those of a real one, numbers there are none (FakeTensorMode).

Tensors of two devices in one operation, numbers read by the host, and shapes that depend on numbers raise as on no CPU. What a
real GPU would do in silence is counted: copies between the devices that make one of them wait.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torchvision  # noqa: F401 registers its operations
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from napari_sdmae.models.memory_estimate import TrainingMemory, training_memory

GPU = torch.device("cuda", 0)
OURS, TORCHVISION = "napari_sdmae", "torchvision"
aten = torch.ops.aten


class Waits(TorchDispatchMode):
    """Counts where host and GPU wait for each other: ``napari_sdmae/…/file.py:function`` and the direction.

    Attributes
    ----------
    found
        Copies that make one wait for the other, and how many.
    stand_ins
        Functions (as above) whose shapes or branches depend on numbers, each with the reason why that is right. In them, and
        nowhere else, one box is found and every number is 0.
    stood_in
        Which of them were met.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()
        self.stand_ins: Mapping[str, str] = {}
        self.stood_in: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if (
            torch.is_inference_mode_enabled() and func.namespace == "aten"
        ):  # operations that are made of others arrive whole there
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        if func is aten._local_scalar_dense.default and not _on_gpu(args[0]):
            return numpy(args[0]).item()  # the host's own numbers: all 0
        if func in DATA_DEPENDENT and _on_gpu(args[0]):
            return self._data_dependent(func, args, kwargs)
        if func in (aten.index.Tensor, aten.index_put_.default, aten.index_put.default) and _on_gpu(args[0]):
            args = (args[0], [number for one in args[1] for number in self._as_numbers(one, func, args)], *args[2:])
        pins = func is aten._pin_memory.default
        result = args[0].clone() if pins else func(*args, **kwargs)
        if func in COPIES:
            self._copied(func, args, kwargs, result)
        elif pins or (func is aten.empty.memory_format and kwargs.get("pin_memory")):
            result.pinned = True
        return result

    def _data_dependent(self, func: Any, args: Any, kwargs: Any) -> Any:
        place = _place()
        if place not in self.stand_ins:
            raise AssertionError(f"{place} needs a number of the GPU: {func}")
        self.stood_in.add(place)
        if func is aten._local_scalar_dense.default:
            return False if args[0].dtype == torch.bool else 0
        return torch.zeros((1, args[0].dim()) if func is aten.nonzero.default else 1, dtype=torch.int64, device=args[0].device)

    def _as_numbers(self, index: Tensor | None, func: Any, args: Any) -> Iterable[Tensor | None]:
        """Return an index as numbers: of a mask those of its true places, whose count the host would have to wait for."""
        filled = func is not aten.index.Tensor and args[2].dim() == 0  # by the mask, without counting
        if index is None or filled or index.dtype not in (torch.bool, torch.uint8):
            return [index]
        return self._data_dependent(aten.nonzero.default, (index,), {}).unbind(1)

    def _copied(self, func: Any, args: Any, kwargs: Any, result: Tensor) -> None:
        source, target = (args[1], args[0]) if func is aten.copy_.default else (args[0], result)
        if not isinstance(source, Tensor) or source.device.type == target.device.type:
            return
        quick = kwargs.get("non_blocking", len(args) > 2 and args[2] is True) and getattr(source, "pinned", False)
        if not quick:
            self.found[f"{_place()} {source.device.type} to {target.device.type}"] += 1


DATA_DEPENDENT = (
    aten._local_scalar_dense.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten.bincount.default,
    torch.ops.torchvision.nms.default,
)
COPIES = (aten._to_copy.default, aten.copy_.default)


def _on_gpu(value: Any) -> bool:
    return isinstance(value, Tensor) and value.device.type == "cuda"


def _place() -> str:
    """Return the innermost function of ours, or of torchvision, that is at work."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        parts = Path(frame.f_code.co_filename).parts
        for package in (TORCHVISION, OURS):
            if package in parts:
                inside = parts[len(parts) - parts[::-1].index(package) :]
                return f"{package}/{'/'.join(inside)}:{frame.f_code.co_name}"
        frame = frame.f_back
    return "elsewhere"


class AtOnce:
    """Stands where a thread reads ahead: the fake GPU is known to one thread only."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def submit(self, function: Any, *arguments: Any) -> Future[Any]:
        """Do it now."""
        done: Future[Any] = Future()
        done.set_result(function(*arguments))
        return done


def numpy(tensor: Tensor) -> np.ndarray:
    """Return zeros of a tensor of the host; one of a GPU has to be copied first, as with a real one."""
    if tensor.device.type != "cpu":
        raise TypeError(f"can't convert {tensor.device} device type tensor to numpy; use Tensor.cpu() first")
    return np.zeros(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))


def moved(module: torch.nn.Module, device: Any = None, *_: Any, **__: Any) -> torch.nn.Module:
    """Move a module in place, as ``Module.to`` does with real parameters."""
    for part in module.modules():
        for name, weight in part._parameters.items():
            if weight is not None:
                part._parameters[name] = torch.nn.Parameter(weight.detach().to(device), weight.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = buffer.to(device)
    return module


def fused_attention(query: Tensor, key: Tensor, value: Tensor, dropout_p: float = 0.0, **_: Any) -> Tensor:
    """Choose among PyTorch's kernels as an NVIDIA GPU does; without its driver PyTorch takes the one that keeps whole maps."""
    if query.dtype == torch.float32:
        return aten._scaled_dot_product_efficient_attention(query, key, value, None, True, dropout_p)[0]
    return aten._scaled_dot_product_flash_attention(query, key, value, dropout_p)[0]


def alone() -> SimpleNamespace:
    """Return what an engine needs of its processes: one, on the GPU. Backward needs a real device: the gradients are made up."""
    module: list[torch.nn.Module] = []

    def setup_module(model: torch.nn.Module) -> torch.nn.Module:
        module.append(model.to(GPU))
        return module[0]

    def backward(loss: Tensor) -> None:
        assert loss.device == GPU
        for weight in module[0].parameters():
            weight.grad = torch.zeros_like(weight) if weight.requires_grad and loss.requires_grad else None

    @contextmanager
    def no_backward_sync(_module: Any, enabled: bool) -> Iterator[None]:
        yield

    fabric = SimpleNamespace(backward=backward, setup_module=setup_module, no_backward_sync=no_backward_sync)
    return SimpleNamespace(fabric=fabric, device=GPU, rank=0, size=1, mean=lambda values: values)


def on_meta(*arguments: Any, **named: Any) -> TrainingMemory:
    """Estimate the memory without the fake GPU: the meta device that it builds a model on is none of its devices."""
    with _disable_current_modes():
        return training_memory(*arguments, **named)


@contextmanager
def fake_gpu(patch: pytest.MonkeyPatch, free: int = 80 * 2**30) -> Iterator[Waits]:
    """Pretend that there is a GPU with `free` bytes of memory, and count what makes it or the host wait."""
    cuda = {
        "is_available": lambda: True,
        "is_bf16_supported": lambda including_emulation=True: True,
        "mem_get_info": lambda device=None: (free, free),
        "get_device_name": lambda device=None: "NVIDIA Fake",
        "manual_seed_all": lambda seed: None,
    }
    for name, value in cuda.items():
        patch.setattr(torch.cuda, name, value)
    patch.setattr(FakeTensor, "numpy", numpy, raising=False)
    patch.setattr(torch.nn.Module, "to", moved)
    patch.setattr(torch.nn.functional, "scaled_dot_product_attention", fused_attention)
    patch.setattr(FakeTensorMode, "avoid_device_init", True)
    with FakeTensorMode(), Waits() as waits:
        yield waits
