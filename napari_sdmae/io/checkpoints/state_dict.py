"""The weights inside a checkpoint: out of whatever containers, under names without what wrappers put before them.

A container (``{"model": …}``) and a prefix (``model.blocks.0…``) are the same thing written differently: both become parts of one
dotted name. What wrappers of PyTorch add is taken out wherever it stands. A vision transformer is then found by the name of its
patch embedding, and what stands before that tells the candidates apart where there are several.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from napari_sdmae.io.checkpoints.pickle_limits import MAX_DEPTH, TooMuchError, check_unpacked
from napari_sdmae.io.checkpoints.tensor_files import Tensors
from napari_sdmae.text.printable import shown

PATCHES = "patch_embed.proj.weight"
BRIDGE = "encoder_to_decoder.weight"
MAIN = "main"
"""What the weights are called that lie in no container of their own."""

_WRAPPERS = {"module", "_orig_mod", "_forward_module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
"""Added by DataParallel, DDP and DeepSpeed; torch.compile; Fabric and Lightning; FSDP; activation checkpointing."""
_OPTIMIZER = "param_groups"
MAX_ENTRIES = 200_000
_END = object()


@dataclass(frozen=True)
class StateDict:
    """The weights of one model.

    Attributes
    ----------
    tensors
        By name; those of an SD-MAE with ``encoder.`` before its encoder's.
    trunk
        What stands before the names of the encoder: empty, or ``encoder.``.
    left_out
        Names of entries among the weights that are no tensors.
    others
        Names of further candidates, which were not chosen.
    """

    tensors: Tensors
    trunk: str
    left_out: list[str]
    others: list[str]


def find_state_dict(content: Mapping[str, Any], source: str, on_disk: int, choice: str | None = None) -> StateDict:
    """Return the weights in a checkpoint.

    Parameters
    ----------
    content
        What the file holds: tensors and other values, in dictionaries of any depth.
    source
        Name of the file, for messages.
    on_disk
        Its size in bytes.
    choice
        Which weights are meant, where there are several: one of the names in the message.

    Raises
    ------
    ValueError
        If there is no vision transformer, or there are several and none is chosen; the message names them.
    """
    try:
        tensors, rest = _flattened(content)
        check_unpacked(sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()), on_disk)
    except TooMuchError as error:
        raise ValueError(f"{source} was refused: {error}") from error
    starts = _starts(tensors, source)
    names = dict(zip(_labels(starts), starts, strict=True))
    label = _chosen(names, source, choice)
    stem = _stem(names[label], tensors)
    others = [_stem(start, tensors) for start in starts if start != names[label]]
    inner = tuple(other for other in others if other.startswith(stem) and other != stem)
    kept = {name.removeprefix(stem): tensor for name, tensor in tensors.items() if _inside(name, stem, inner)}
    left_out = [name.removeprefix(stem) for name in rest if _inside(name, stem, inner)]
    return StateDict(kept, names[label].removeprefix(stem), left_out, [name for name in names if name != label])


def _inside(name: str, stem: str, inner: tuple[str, ...]) -> bool:
    return name.startswith(stem) and not name.startswith(inner)


def _flattened(content: Mapping[str, Any]) -> tuple[Tensors, list[str]]:
    """Return all tensors by their dotted names without wrappers, and the names of the other entries."""
    tensors: Tensors = {}
    rest: list[str] = []
    for name, value in _walk(content):
        if not _is_plain(value):
            rest.append(name)
        elif name in tensors and not _same(tensors[name], value):
            raise TooMuchError(f"it holds two tensors {shown(name)}; save the weights of one model alone")
        else:
            tensors[name] = value
    return tensors, rest


def _walk(content: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield every entry that is no dictionary, in the order of the file; states of optimizers are left out."""
    levels = [("", iter(content.items()))]
    count = 0
    while levels:
        start, entries = levels[-1]
        key, value = next(entries, (_END, None))
        count += 1
        if count > MAX_ENTRIES:
            raise TooMuchError(f"it has more than {MAX_ENTRIES:,} entries, or refers to itself")
        if key is _END:
            levels.pop()
            continue
        name = start + ".".join(word for word in str(key).split(".") if word not in _WRAPPERS)
        if not isinstance(value, Mapping):
            yield name, value
        elif _OPTIMIZER not in value:
            if len(levels) > MAX_DEPTH:
                raise TooMuchError(f"its dictionaries are nested more than {MAX_DEPTH} deep, or refer to themselves")
            levels.append((f"{name}." if name and not name.endswith(".") else name, iter(value.items())))


def _is_plain(value: Any) -> bool:
    """Return whether a value is a tensor with numbers of its own, of a kind that weights have."""
    return isinstance(value, Tensor) and value.layout == torch.strided and value.device.type == "cpu" and not value.is_quantized


def _same(first: Tensor, second: Tensor) -> bool:
    return first is second or (first.shape == second.shape and first.dtype == second.dtype and torch.equal(first, second))


def _starts(tensors: Tensors, source: str) -> list[str]:
    """Return what stands before each patch embedding, shortest first; of copies of one encoder the first."""
    found = [name.removesuffix(PATCHES) for name in tensors if name == PATCHES or name.endswith(f".{PATCHES}")]
    if not found:
        listed = ", ".join(shown(name) for name in list(tensors)[:8]) or "no tensors"
        raise ValueError(f"{source} holds no plain vision transformer ({PATCHES} was not found); it has {listed}")
    different: list[str] = []
    for start in sorted(found, key=len):
        if not any(_copies(start, other, tensors) for other in different):
            different.append(start)
    return different


def _copies(start: str, other: str, tensors: Tensors) -> bool:
    """Return whether two encoders of a file are one and the same, kept under two names."""
    if not _same(tensors[start + PATCHES], tensors[other + PATCHES]):
        return False
    parts = [{n.removeprefix(one): t for n, t in tensors.items() if n.startswith(f"{one}blocks.")} for one in (start, other)]
    return parts[0].keys() == parts[1].keys() and all(_same(parts[0][name], parts[1][name]) for name in parts[0])


def _labels(starts: list[str]) -> list[str]:
    """Return a name for each candidate: the words before its encoder that not all of them have."""
    words = [start.split(".")[:-1] for start in starts]
    common = set.intersection(*map(set, words)) if len(words) > 1 else set()
    labels = [".".join(word for word in one if word not in common) or MAIN for one in words]
    return labels if len(set(labels)) == len(labels) else [".".join(one) or MAIN for one in words]


def _chosen(names: dict[str, str], source: str, choice: str | None) -> str:
    """Return the name of the weights that are meant."""
    listed = [shown(name) for name in names]
    if choice is None and len(names) > 1:
        raise ValueError(
            f"{source} holds the weights of {len(names)} models: {', '.join(listed)}; choose one, such as --weights {listed[-1]}"
        )
    if choice is None or choice in names:
        return choice or next(iter(names))
    meant = [name for name, start in names.items() if choice in start.split(".")]
    if len(meant) != 1:
        raise ValueError(f"{source} holds no weights {choice!r}; it has {', '.join(listed)}")
    return meant[0]


def _stem(start: str, tensors: Tensors) -> str:
    """Return what stands before all names of a model: before ``encoder.`` of an SD-MAE, else before the encoder's names."""
    stem = start.removesuffix("encoder.")
    return stem if stem + BRIDGE in tensors else start
