"""Processes are told apart by what no step of the clock moves."""

import os
import subprocess
import sys
from dataclasses import replace

from napari_sdmae.io import processes
from napari_sdmae.io.processes import ProcessIdentity, start_token


def test_this_process_lives():
    assert ProcessIdentity.current().is_alive() is True
    assert ProcessIdentity.current() == ProcessIdentity.current()


def test_a_dead_process_and_a_zombie_do_not():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    identity = replace(ProcessIdentity.current(), pid=child.pid, start=start_token(child.pid))
    assert identity.is_alive() is True
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet collected
    assert identity.is_alive() is False
    child.wait()
    assert identity.is_alive() is False


def test_a_pid_used_again_is_another_process():
    assert replace(ProcessIdentity.current(), start="1").is_alive() is False


def test_a_machine_of_the_same_name_cannot_be_told():
    here = ProcessIdentity.current()
    boot, namespace, *_ = here.boot.split()
    other = "00000000-0000-0000-0000-000000000000"
    assert processes._started_again(f"{other} {namespace} a", f"{boot} {namespace} a")
    assert not processes._started_again(f"{other} {namespace} a", f"{boot} {namespace} b")
    assert not processes._started_again(f"{boot} pid:[1] a", f"{boot} {namespace} a")


def test_another_boot_is_dead_another_host_or_container_cannot_be_told():
    here = ProcessIdentity.current()
    assert replace(here, boot="00000000-0000-0000-0000-000000000000 pid:[1]").is_alive() is False
    assert replace(here, boot=f"{here.boot.split()[0]} pid:[1]").is_alive() is None
    assert replace(here, host="elsewhere").is_alive() is None
