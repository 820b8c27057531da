import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from napari_sdmae.config import PretrainConfig, merge

TINY = {
    "encoder": "vit_tiny_patch16_224",
    "tile_size": 32,
    "patch_size": 8,
    "encoder_width": 32,
    "encoder_depth": 2,
    "encoder_heads": 2,
    "decoder_width": 24,
    "decoder_depth": 1,
    "decoder_heads": 2,
    "head_hidden": 32,
    "head_bottleneck": 16,
    "head_outputs": 64,
}
"""A model whose step takes milliseconds; all its parts are those of the real one."""


@pytest.fixture(scope="session")
def tiles(tissue: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 26 real H&E tiles of several organs."""
    folder = tmp_path_factory.mktemp("tiles")
    for path in sorted((tissue / "tiles").rglob("*.jpg"))[::6][:26]:
        shutil.copy(path, folder / f"{path.parent.name}-{path.name}")
    return folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the tile caches, filled by the first run."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def make_config(tiles: Path, cache: Path):
    """Return a function that makes the settings of a run of milliseconds per step: 3 steps of 8 tiles per epoch."""

    def make(**changes: Any) -> PretrainConfig:
        values = {
            "data": tiles,
            "epochs": 3,
            "batch_size": 8,
            "device": "cpu",
            "precision": "fp32",
            "threads": 1,
            "log_every": 1,
            "preview_tiles": 2,
            "model": TINY,
            "tiles": {"cache": cache, "tissue_filter": False},
            "loss": {"p_start_epoch": 0, "p_ramp_epochs": 1},
            "optimizer": {"warmup_epochs": 1},
        }
        return PretrainConfig.model_validate(merge(values, changes))

    return make


SERVER = """
import os, resource, sys
import napari_sdmae.training.pretraining
from napari_sdmae.cli import main
for line in sys.stdin:
    words = line.split()
    if words[0] == "wait":
        print(os.waitstatus_to_exitcode(os.waitpid(int(words[1]), 0)[1]), flush=True)
    elif (child := os.fork()):
        print(child, flush=True)
    else:
        os.dup2(2, 1)
        if words[0] == "limit":
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(words[1]), resource.RLIM_INFINITY))
            words = words[2:]
        os._exit(main(words))
"""


class Jobs:
    """Starts `sdmae …` as processes of their own, without importing torch anew each time: a server forks them."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    def start(self, *words: object) -> int:
        """Start a command, or ``limit BYTES COMMAND`` that can write no larger file; return its process id."""
        return self._ask(" ".join(map(str, words)))

    def wait(self, pid: int) -> int:
        """Wait for a process to end; return its exit status, negative for a signal."""
        return self._ask(f"wait {pid}")

    def kill(self, pid: int) -> None:
        """End a process as a power cut would."""
        os.kill(pid, signal.SIGKILL)
        assert self.wait(pid) == -signal.SIGKILL, "the process had ended before it was killed"

    def close(self) -> None:
        self._server.kill()
        self._server.communicate()

    def _ask(self, line: str) -> int:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(line + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())


@pytest.fixture(scope="session")
def jobs() -> Iterator[Jobs]:
    server = Jobs()
    yield server
    server.close()
