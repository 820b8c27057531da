"""Two processes give the losses of one with the same batch."""

import os
import shutil
import socket
import subprocess
import sys

import pytest

from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.config.pretrain import PretrainConfig
from napari_sdmae.training import RunFolder, finetune, pretrain

CODES = {"distance": "cross_entropy", "target": "image", "p": 0.2}
LOSSES = {
    "paper": {"loss": CODES | {"centring": "probability"}, "model": {"head": "projection"}},
    "sinkhorn": {"loss": CODES | {"teacher_gradient": False}, "model": {"head": "projection"}},
    "default": {},
}


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def totals(run: RunFolder) -> list[float]:
    return [record["total"] for record in run.metrics() if record["kind"] == "step"]


def command_of(kind: str, config: PretrainConfig | FinetuneConfig, run: RunFolder) -> list[str]:
    settings = run.path.with_suffix(".yaml")
    settings.write_text(config.to_yaml())
    return [kind, "--config", str(settings), "--output", str(run.path)]


def in_two_forks(jobs, command: list[str]) -> None:
    """Start two processes with the variables that torchrun gives them; nothing imports torch anew."""
    together = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "test"}
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    ranks = [{"RANK": rank, "LOCAL_RANK": rank} for rank in ("0", "1")]
    started = [jobs.start(*command, environment=together | address | rank) for rank in ranks]
    assert [jobs.wait(pid) for pid in started] == [0, 0]


def by_torchrun(command: list[str]) -> None:
    launcher = ["torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port())]
    words = [sys.executable, "-m", *launcher, "-m", "napari_sdmae", *command]
    done = subprocess.run(words, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("loss", LOSSES)
def test_two_processes_give_the_losses_of_one(make_config, jobs, tmp_path, loss):
    config = make_config(epochs=3, micro_batch=2, **LOSSES[loss])
    one, two = RunFolder(tmp_path / "one"), RunFolder(tmp_path / "two")
    list(pretrain(make_config(epochs=3, micro_batch=4, **LOSSES[loss]), run=one.path))
    in_two_forks(jobs, command_of("pretrain", config, two))
    assert len(totals(two)) == 9
    assert totals(two) == pytest.approx(totals(one), abs=1e-4)
    assert [path.name for path in two.checkpoints()] == [path.name for path in one.checkpoints()]


def test_fine_tuning_in_two_processes_leaves_out_what_the_first_could_not_decode(make_finetune, labelled_data, tmp_path):
    """The header of the cut file is whole: a process that read headers only would train on other images than the first."""
    data = tmp_path / "data"
    shutil.copytree(labelled_data["classification"], data)
    cut = sorted(data.rglob("*.png"))[3]
    cut.write_bytes(cut.read_bytes()[:200])
    one, two = RunFolder(tmp_path / "one"), RunFolder(tmp_path / "two")
    config = make_finetune("classification", data=data)
    list(finetune(config, run=one.path))
    by_torchrun(command_of("finetune", config, two))
    assert cut.name in two.quarantine.read_text()
    assert totals(two) == pytest.approx(totals(one), abs=1e-4)
    assert two.read_config() == one.read_config()
