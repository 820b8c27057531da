"""Runs `sdmae` commands in processes of their own without loading torch anew for each: a server forks them.

The first half is the caller's, the second the server's (``python -m faults.server``). A forked command begins as the real one
does, with its own arguments, files and limits; there is no hook in the product.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults.oracle import Lost

LIMIT_S = 600.0
"""A command of the campaign needs a second or two; after so long it hangs."""
MEMORY = 6_000_000_000
"""Bytes that a command may take; all files of the campaign are small."""


LOADED = (
    "napari_sdmae.cli.common.overlay",
    "napari_sdmae.data.tiles.inspect",
    "napari_sdmae.data.labelled.read",
    "napari_sdmae.inference.attention.field_map",
    "napari_sdmae.inference.reconstruction",
    "napari_sdmae.training.pretraining.memory",
    "napari_sdmae.inference.embedding.embed",
    "napari_sdmae.inference.embedding.files",
    "napari_sdmae.inference.measuring",
    "napari_sdmae.inference.prediction.predict",
    "napari_sdmae.io.checkpoints.load",
    "napari_sdmae.io.checkpoints.head_folder",
    "napari_sdmae.io.labels.registry",
    "napari_sdmae.training.ablation.run",
    "napari_sdmae.training.finetuning.finetune",
    "napari_sdmae.training.pretraining.pretrain",
    "PIL.BmpImagePlugin",
    "PIL.JpegImagePlugin",
    "PIL.PngImagePlugin",
    "pyarrow.pandas_compat",
    "skimage.measure",
    "typeguard",
    "tyro.constructors",
)
"""What commands import when they are called; a server imports it once for all."""


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit status (negative for a signal), what it printed, most memory in bytes."""

    status: int
    stdout: str
    stderr: str
    peak: int


@dataclass
class Job:
    """A command that runs."""

    server: Server
    pid: int
    stdout: Path
    stderr: Path

    def wait(self, limit_s: float = LIMIT_S) -> Ended:
        """Wait for its end.

        Raises
        ------
        Lost
            If it hangs; it is killed then.
        """
        if not self.server.ends(self.pid, limit_s):
            os.kill(self.pid, signal.SIGKILL)
            self.server.ask(do="reap", pid=self.pid)
            raise Lost(f"hangs: no end after {limit_s:.0f} s")
        answer = self.server.ask(do="reap", pid=self.pid)
        return Ended(answer["status"], _text(self.stdout), _text(self.stderr), answer["peak"])

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)


class Server:
    """The caller's end of a server; threads may share it, as cases are tried while the next ones are prepared."""

    def __init__(self) -> None:
        self._asking = threading.Lock()
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}
        environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "faults.server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def start(self, words: list[Any], folder: Path, **options: Any) -> Job:
        """Start ``sdmae WORDS`` with home, cache and working folder in `folder`; see `_become` for the options."""
        number = time.monotonic_ns()
        stdout = Path(options.pop("stdout", folder / f"stdout-{number}"))
        stderr = Path(options.pop("stderr", folder / f"stderr-{number}"))
        asked = {"words": [str(word) for word in words], "folder": str(folder), "stdout": str(stdout), "stderr": str(stderr)}
        return Job(self, self.ask(do="start", **asked, **options)["pid"], stdout, stderr)

    def run(self, words: list[Any], folder: Path, **options: Any) -> Ended:
        """Run ``sdmae WORDS`` to its end."""
        return self.start(words, folder, **options).wait()

    def run_all(self, commands: list[list[Any]], folder: Path, **options: Any) -> list[Ended]:
        """Run commands one after the other in one process, which is much faster than a process for each.

        Raises
        ------
        Lost
            If one hangs or takes the process down; the message names it.
        """
        said = [(folder / f"stdout-{number}", folder / f"stderr-{number}") for number in range(len(commands))]
        words = [[str(word) for word in command] for command in commands]
        job = self.start([], folder, stdout=said[0][0], stderr=said[0][1], commands=words, **options)
        try:
            ended = job.wait()
        except Lost as reason:
            raise Lost(f"{_under_way(folder, words)}: {reason}") from None
        if ended.status:
            raise Lost(f"{_under_way(folder, words)}: the process ended with {ended.status}")
        statuses = json.loads((folder / "statuses").read_text())
        return [Ended(status, _text(out), _text(err), ended.peak) for status, (out, err) in zip(statuses, said, strict=True)]

    def ask(self, **message: Any) -> dict[str, Any]:
        """Send the server a message; return its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._asking:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the server of the campaign has died; run it again, with more memory free")
        return dict(json.loads(answer))

    @staticmethod
    def ends(pid: int, limit_s: float) -> bool:
        """Return whether process `pid` ends within `limit_s`."""
        handle = os.pidfd_open(pid)
        try:
            poll = select.poll()
            poll.register(handle, select.POLLIN)
            return bool(poll.poll(limit_s * 1000))
        finally:
            os.close(handle)

    def close(self) -> None:
        """End the server."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="surrogateescape") if path.is_file() else ""


def _under_way(folder: Path, commands: list[list[str]]) -> str:
    """Return which command a process died in."""
    done = len(json.loads(_text(folder / "statuses") or "[]"))
    return commands[min(done, len(commands) - 1)][0]


# --- the server ---------------------------------------------------------------------------------------------------------------


def serve() -> dict[str, Any] | None:
    """Answer messages; return its message in each forked process, None in the server when its input ends."""
    _load()
    for line in sys.stdin:
        message = json.loads(line)
        if message["do"] == "reap":
            _, status, used = os.wait4(message["pid"], 0)
            _answer({"status": os.waitstatus_to_exitcode(status), "peak": used.ru_maxrss * 1024})
        elif pid := os.fork():
            _answer({"pid": pid})
        else:
            _become(message)
            return dict(message)
    return None


def obey(commands: list[list[str]]) -> int:
    """Run commands one after the other, each with an output and an exit status of its own; return 0."""
    statuses: list[int] = []
    for number, words in enumerate(commands):
        _redirect({"stdout": f"stdout-{number}", "stderr": f"stderr-{number}"})
        statuses.append(_status(words))
        Path("statuses").write_text(json.dumps(statuses))
    return 0


def _status(words: list[str]) -> int:
    """Return the exit status of a command, as the interpreter would end with it."""
    from napari_sdmae.cli import main

    sys.argv = ["sdmae", *words]
    try:
        status: Any = main(words)
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        traceback.print_exc()
        status = 1
    return status if isinstance(status, int) else 1


def _answer(values: dict[str, Any]) -> None:
    print(json.dumps(values), flush=True)


def _load() -> None:
    """Import what the commands import, so that a forked one need not; torch's own threads must not have begun."""
    import gc
    from importlib import import_module

    from napari_sdmae.cli import COMMANDS

    inner = [f"napari_sdmae.cli.{command.module}" for command in COMMANDS.values()]
    for name in (*inner, *LOADED):
        import_module(name)
    gc.freeze()


def _become(message: dict[str, Any]) -> None:
    """Turn a fresh child into the process of a command.

    Options: ``memory`` and ``largest`` (bytes of memory, of a file), ``powerless`` (without what root may do more than others),
    ``ignored`` (signals that come ignored, as nohup leaves them), ``terminal`` (path of a terminal to be controlled by),
    ``traced`` (wait for strace).
    """
    import ctypes
    import resource

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: never outlive the campaign
    os.setsid()
    _redirect(message)
    os.chdir(message["folder"])
    home = str(Path(message["folder"], "home"))
    os.environ |= {"HOME": home, "XDG_CACHE_HOME": f"{home}/cache", "XDG_CONFIG_HOME": f"{home}/config"}
    resource.setrlimit(resource.RLIMIT_DATA, (message.get("memory", MEMORY),) * 2)
    if "largest" in message:
        resource.setrlimit(resource.RLIMIT_FSIZE, (message["largest"], resource.RLIM_INFINITY))
    for number in message.get("ignored", ()):
        signal.signal(number, signal.SIG_IGN)
    if message.get("powerless"):
        _drop_powers()
    ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)  # PR_SET_PTRACER: where only parents may trace
    while message.get("traced") and "TracerPid:\t0\n" in Path("/proc/self/status").read_text():
        time.sleep(0.002)


def _drop_powers() -> None:
    """Give up all capabilities: root may then read, write and remove what any user in its place may, and no more."""
    import ctypes

    header, nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, nothing):
        raise OSError(ctypes.get_errno(), "the capabilities cannot be given up")


def _redirect(message: dict[str, Any]) -> None:
    """Connect input, output and errors to the files of the message, or to a terminal."""
    if "terminal" in message:
        handles = [os.open(message["terminal"], os.O_RDWR)] * 3  # the first terminal that a session opens controls it
    else:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        handles = [os.open("/dev/null", os.O_RDONLY), *(os.open(message[name], flags, 0o666) for name in ("stdout", "stderr"))]
    for number, handle in enumerate(handles):
        os.dup2(handle, number)


if __name__ == "__main__":
    asked = serve()
    if asked is not None:
        os._exit(
            obey(asked["commands"]) if "commands" in asked else _status(asked["words"])
        )  # the interpreter's own ending takes longer than the commands
