"""A real napari viewer for GUI tests. Nothing here imports torch, and nothing touches the user's own settings.

GUI tests run in a process of their own: importing torch after a napari viewer exists crashes on this stack (triton and Mesa's
software renderer clash over LLVM symbols). Tests that need a model make it in a subprocess, as the plugin does. Each test
process has its own Xvfb screen: windows of one screen would take the focus from each other.
"""

import atexit
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path

# before napari and platformdirs are asked for folders
_HOME = tempfile.mkdtemp(prefix="sdmae-gui-tests-")
for _name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME"):
    os.environ[_name] = str(Path(_HOME) / _name.removeprefix("XDG_").lower())

# Where tests run in several processes, each has a screen of its own: only one window of a screen is active.
if "PYTEST_XDIST_WORKER" in os.environ and sys.platform == "linux":
    _told, _telling = os.pipe()
    _screen = ["Xvfb", "-displayfd", str(_telling), "-screen", "0", "1600x1200x24", "-nolisten", "tcp"]
    atexit.register(subprocess.Popen(_screen, pass_fds=[_telling], stderr=subprocess.DEVNULL).terminate)
    os.close(_telling)  # so that one that does not start is noticed
    os.environ["DISPLAY"] = f":{os.read(_told, 16).decode().strip()}"

import napari  # noqa: E402
import pytest  # noqa: E402
from pytestqt.qtbot import QtBot  # noqa: E402
from qtpy.QtCore import QObject, Qt, QTimer  # noqa: E402
from qtpy.QtWidgets import QApplication, QMessageBox, QWidget  # noqa: E402

from napari_sdmae.io.model_info import info  # noqa: E402

HANG_MS = 300_000
"""A limit of a test is what only a hang reaches: busy machines need minutes where others need a second."""
HEAVY = ("torch", "torchvision", "timm", "lightning_fabric")

SHIPPED = info._shipped_folder


class PatientBot(QtBot):
    """Waits for what must come until it hangs, whatever limit a test or pytest-qt gives: no test fails by the clock."""

    def waitUntil(self, callback, *, timeout=HANG_MS):
        super().waitUntil(callback, timeout=max(timeout, HANG_MS))

    def waitSignal(self, signal, *, timeout=HANG_MS, **how):
        return super().waitSignal(signal, timeout=max(timeout, HANG_MS), **how)

    def waitExposed(self, widget, *, timeout=HANG_MS):
        return super().waitExposed(widget, timeout=max(timeout, HANG_MS))


@pytest.fixture
def qtbot(qapp, request) -> PatientBot:
    """pytest-qt's robot, with our patience."""
    return PatientBot(request)


@pytest.fixture
def make_viewer(qtbot) -> Iterator[Callable[..., napari.Viewer]]:
    """Open real napari windows; they are closed at the end."""
    viewers = []

    def make(width: int = 1280, height: int = 800) -> napari.Viewer:
        viewer = napari.Viewer(show=True)
        viewers.append(viewer)
        viewer.window._qt_window.resize(width, height)
        qtbot.waitExposed(viewer.window._qt_window)
        return viewer

    yield make
    for viewer in viewers:
        if hasattr(viewer.window, "_qt_window"):
            viewer.close()
    QApplication.processEvents()


@pytest.fixture
def viewer(make_viewer) -> napari.Viewer:
    """One real napari window of 1280 × 800."""
    return make_viewer()


@pytest.fixture
def dock() -> Callable[[napari.Viewer, QWidget], QWidget]:
    """Put a widget into the right dock of a viewer, as the Plugins menu does."""

    def add(viewer: napari.Viewer, widget: QWidget, name: str = "SD-MAE", width: int | None = None) -> QWidget:
        area = viewer.window.add_dock_widget(widget, name=name, area="right")
        if width is not None:
            viewer.window._qt_window.resizeDocks([area], [width], Qt.Orientation.Horizontal)
        QApplication.processEvents()
        return area

    return add


@pytest.fixture
def answer_box() -> Callable[[str], None]:
    """Press the button of that name in the question that will be asked."""

    def answer(text: str) -> None:
        def press() -> None:
            box = QApplication.activeModalWidget()
            if not isinstance(box, QMessageBox):
                QTimer.singleShot(50, press)
                return
            next(button for button in box.buttons() if button.text().replace("&", "") == text).click()

        QTimer.singleShot(50, press)

    return answer


@pytest.fixture
def kill_the_worker(qtbot) -> Callable[[Callable[[], object]], None]:
    """Kill the query worker's child while it has the question that is asked by what is called."""
    from napari_sdmae.widgets.worker_client import query_worker

    def kill(ask: Callable[[], object]) -> None:
        executor = query_worker()._child._executor
        pid = next(iter(executor._processes))
        os.kill(pid, signal.SIGSTOP)  # so that it cannot answer first
        ask()
        qtbot.waitUntil(lambda: bool(executor._pending_work_items), timeout=60000)
        os.kill(pid, signal.SIGKILL)

    return kill


@pytest.fixture
def fresh_memory(tmp_path, monkeypatch) -> Path:
    """Remember nothing from earlier tests."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config"


@pytest.fixture(autouse=True)
def nothing_shipped(tmp_path, monkeypatch) -> None:
    """Offer no model that comes with the package, whichever there are."""
    monkeypatch.setattr(info, "_shipped_folder", lambda: tmp_path / "nothing-shipped")


@pytest.fixture
def as_shipped(nothing_shipped, monkeypatch) -> None:
    """Offer the models that do come with the package."""
    monkeypatch.setattr(info, "_shipped_folder", SHIPPED)


@pytest.fixture
def shipped(models, nothing_shipped, monkeypatch) -> Path:
    """Offer a compact model, tissue, and a compact head, nuclei, as if they came with the package."""
    monkeypatch.setattr(info, "_shipped_folder", lambda: models / "shipped")
    return models / "shipped"


@pytest.fixture
def really_shipped(shipped, monkeypatch) -> Path:
    """Offer what does come with the package; where nothing does yet, what `shipped` offers."""
    folder = Path(str(resources.files("napari_sdmae.resources"))) / "models"
    if any(folder.glob("*/config.json")):
        monkeypatch.setattr(info, "_shipped_folder", lambda: folder)
        return folder
    return shipped


@pytest.fixture(autouse=True)
def no_torch_in_the_viewer() -> Iterator[None]:
    """Fail a test, or the collection before it, that made this process import what must stay in the job and the worker."""
    yield
    imported = {name for name in HEAVY if name in sys.modules}
    assert not imported, f"the viewer's process imported {sorted(imported)}"


MAKE_MODELS = """
import sys, torch
from pathlib import Path
from napari_sdmae.config.pretrain import ModelConfig
from napari_sdmae.config.finetune import FinetuneConfig
from napari_sdmae.io.checkpoints.load import convert_checkpoint, save_model
from napari_sdmae.io.checkpoints.head_folder import save_head
from napari_sdmae.io.checkpoints.new_head import new_head
from napari_sdmae.labels.label_map import make_classes
from napari_sdmae.models import SDMAE
folder = Path(sys.argv[1])
for seed, (name, width, depth, heads) in enumerate([("small", 48, 3, 4), ("other", 36, 2, 3)]):
    torch.manual_seed(seed)
    config = ModelConfig(tile_size=64, encoder_width=width, encoder_depth=depth, encoder_heads=heads, decoder_width=width,
                         decoder_depth=1, decoder_heads=heads, head_hidden=32, head_bottleneck=16, head_outputs=32)
    save_model(folder / name, SDMAE(config), metadata={"mpp": 0.5})
encoder = {"tile_size": 64, "width": 48, "depth": 3, "heads": 4}
for task in ("segmentation", "instances", "classification", "detection"):
    config = FinetuneConfig.model_validate({"task": task, "data": ".", "tile_px": 64, "seed": 3, "encoder": encoder,
                                            "head": {"decoder": "linear", "width": 16, "smallest": 2.0, "auxiliary": 0}})
    names = ["background", "tumour", "stroma"] if task == "segmentation" else ["epithelial", "lymphocyte"]
    head = new_head(config, make_classes(names, first=int(task in ("instances", "detection"))), 0.5)
    if task == "detection":  # so sure of everything that boxes are found
        head.head.detector.roi_heads.box_predictor.cls_score.bias.data[1] = 5
    save_head(folder / "heads" / task, head)
card, said = folder / "card.md", "A stand-in with random weights."
for name, source, title in (("tissue", "small", "Tissue, small"), ("nuclei", "heads/instances", "Nuclei, small")):
    sections = [f"## {section}\\n\\n{said}" for section in ("Data", "Licence", "Recipe", "Metrics", "Limits")]
    card.write_text("\\n\\n".join([f"# {title}", "Research use only, not for diagnosis.", *sections]))
    convert_checkpoint(folder / source, folder / "shipped" / name, compact=True, card=card)
"""


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> Path:
    """Small models and heads with random weights, made by one other process: torch must not enter this one."""
    folder = tmp_path_factory.mktemp("models")
    subprocess.run([sys.executable, "-c", MAKE_MODELS, str(folder)], check=True)
    return folder


@pytest.fixture(scope="session")
def model_folder(models) -> Path:
    """A small model: patches of 16 px, 3 blocks of 4 heads."""
    return models / "small"


@pytest.fixture(scope="session")
def other_model_folder(models) -> Path:
    """Another small model: 2 blocks of 3 heads."""
    return models / "other"


@pytest.fixture(scope="session")
def head_folders(models) -> Path:
    """Folder of four small heads, called by their tasks; tiles of 64 px at 0.5 µm/px."""
    return models / "heads"


RUN_COMMANDS = """
import contextlib, io, json, sys
from napari_sdmae.cli import main
replies = sys.stdout
for line in sys.stdin:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            code = main(json.loads(line))
        except SystemExit as left:
            code = left.code
    print(json.dumps([code, said.getvalue()]), file=replies, flush=True)
"""


@pytest.fixture(scope="session")
def type_command() -> Iterator[Callable[[str, Path], None]]:
    """Run a copied command line as it is, but for where it writes; all in one process, as importing torch takes seconds."""
    started = []

    def run(line: str, output: Path) -> None:
        if not started:
            command = [sys.executable, "-c", RUN_COMMANDS]
            started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        program, *arguments = shlex.split(line)
        assert program == "sdmae"
        arguments[arguments.index("--output") + 1] = str(output)
        process = started[0]
        process.stdin.write(json.dumps(arguments) + "\n")
        process.stdin.flush()
        code, said = json.loads(process.stdout.readline())
        assert code == 0, said

    yield run
    for process in started:
        process.communicate()


@pytest.fixture(scope="session")
def warm_worker(qapp) -> Iterator[None]:
    """Keep the query worker's child between tests: starting one and importing torch takes seconds."""
    from napari_sdmae.widgets.worker_client import query_worker
    from napari_sdmae.worker.protocol import DevicesRequest

    keeper = QObject()
    query_worker().submit(DevicesRequest(), lambda _: None, lambda _: None, user=keeper)
    yield
    query_worker().release()
