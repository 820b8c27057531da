"""Two processes give the losses of one with the same batch."""

import os
import socket
import subprocess
import sys

import pytest

from napari_sdmae.training import RunFolder, pretrain

LOSSES = {
    "paper": {"centring": "probability", "teacher_gradient": True},
    "default": {},
}


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def totals(run: RunFolder) -> list[float]:
    return [record["total"] for record in run.metrics() if record["kind"] == "step"]


@pytest.mark.parametrize("loss", LOSSES)
def test_two_processes_give_the_losses_of_one(make_config, tmp_path, loss):
    config = make_config(epochs=3, loss=LOSSES[loss], micro_batch=2)
    one, two = RunFolder(tmp_path / "one"), RunFolder(tmp_path / "two")
    list(pretrain(make_config(epochs=3, loss=LOSSES[loss], micro_batch=4), run=one.path))
    settings = tmp_path / "settings.yaml"
    settings.write_text(config.to_yaml())
    command = [
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--master-port",
        str(free_port()),
        "-m",
        "napari_sdmae",
        "pretrain",
        "--config",
        str(settings),
        "--output",
        str(two.path),
    ]
    done = subprocess.run([sys.executable, *command], env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(totals(two)) == 9
    assert totals(two) == pytest.approx(totals(one), abs=1e-4)
    assert [path.name for path in two.checkpoints()] == [path.name for path in one.checkpoints()]
