"""The processes of one training: those that torchrun or SLURM started, or the one.

Lightning Fabric starts processes, finds devices and wraps the model in DDP; precision is our own (``devices/precision.py``).
Fabric takes any shell inside a SLURM allocation for a SLURM job, so ``LightningEnvironment`` is passed unless torchrun, or
srun with several tasks, started the process. Requests (stop, pause, cancel) travel through a gloo group of their own and never
wait for a GPU. Two processes give the losses of one within 1e-4 (measured: 2.4e-7).
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TypeVar, cast

import psutil
import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor

from napari_sdmae.devices.select import Kind
from napari_sdmae.runs.folder import Request

T = TypeVar("T")

SEVERITY: tuple[Request | None, ...] = (None, "stop", "pause", "cancel")
"""Of several requests the last in this order is followed."""
PATIENCE = timedelta(days=7)
"""The other processes wait for so long while the first one decodes the tiles."""


def launch(device: Kind) -> Processes:
    """Join the processes of this run: one, or those that torchrun or SLURM started."""
    environment, local = _environment()
    if isinstance(environment, LightningEnvironment):
        fabric = Fabric(accelerator=device, devices=1, plugins=[environment])
    else:
        strategy = DDPStrategy(process_group_backend="nccl" if device == "cuda" else "gloo", broadcast_buffers=False)
        nodes = environment.world_size() // local
        fabric = Fabric(accelerator=device, devices=local, num_nodes=nodes, strategy=strategy, plugins=[environment])
    fabric.launch()
    return Processes(fabric)


def is_first_process() -> bool:
    """Return whether this process writes the run folder; the others only compute."""
    return bool(_environment()[0].global_rank() == 0)


def _environment() -> tuple[ClusterEnvironment, int]:
    """Return who started the processes and how many are on this machine.

    Explicit, as Fabric takes any shell inside a SLURM allocation for a SLURM job.
    """
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment(), int(os.environ["LOCAL_WORLD_SIZE"])
    tasks = int(os.environ.get("SLURM_NTASKS", 1))
    if "SLURM_STEP_ID" in os.environ and tasks > 1 and SLURMEnvironment.detect():
        return SLURMEnvironment(), tasks // int(os.environ.get("SLURM_NNODES", 1))
    return LightningEnvironment(), 1


class Processes:
    """The processes of one run, as the engine needs them: who am I, agree on something, average."""

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self.device: torch.device = fabric.device
        self.rank: int = fabric.global_rank
        self.size: int = fabric.world_size
        # A group of its own on the CPU: agreeing on a request never waits for the GPU.
        words = dist.new_group(backend="gloo", timeout=PATIENCE) if self.size > 1 else None
        self._words = cast("dist.ProcessGroup | None", words)

    def agree(self, request: Request | None) -> Request | None:
        """Return the most severe request that any process has; also a barrier."""
        if self._words is None:
            return request
        code = torch.tensor(SEVERITY.index(request))
        dist.all_reduce(code, op=dist.ReduceOp.MAX, group=self._words)
        return SEVERITY[int(code)]

    def share(self, value: T) -> T:
        """Return the first process's value."""
        if self._words is None:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0, group=self._words)
        return values[0]

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of `values` over the processes."""
        mean: Tensor = self.fabric.all_reduce(values, reduce_op="mean") if self.size > 1 else values
        return mean

    def memory(self) -> int:
        """Return the bytes in use: at most so far on the GPU, now on the CPU."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        if self.device.type == "mps":
            return torch.mps.current_allocated_memory()
        return int(psutil.Process().memory_info().rss)
