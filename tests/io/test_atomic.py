"""What may be replaced, files that appear whole or not at all, and the leftovers of dead processes."""

import errno
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import label_cases as cases
import pytest

from napari_sdmae.io import atomic
from napari_sdmae.io.atomic import atomic_files, atomic_path, check_free, clear_leftovers, write_atomically
from napari_sdmae.io.labels.registry import FORMATS, export_labels
from napari_sdmae.io.leftovers import reserved


def tree(folder: Path) -> dict[str, bytes | str]:
    """Return everything below `folder`: files with their bytes, links with where they point."""
    found: dict[str, bytes | str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        found[name] = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else "folder"
    return found


@pytest.fixture
def places(tmp_path: Path) -> Path:
    """A folder with one of everything that may lie where something is to be written."""
    export_labels(cases.objects(cases.hard()), tmp_path / "ours.ome.zarr")
    for name in ("strange", "linked", "named"):
        export_labels(cases.objects(cases.hard()), tmp_path / f"{name}.ome.zarr")
    (tmp_path / "strange.ome.zarr" / "labels" / "labels" / "notes.txt").write_text("mine")
    (tmp_path / "linked.ome.zarr" / "labels" / "labels" / "0" / "c" / "0" / "1").symlink_to("0")
    (tmp_path / "named.ome.zarr" / "labels" / "theirs").mkdir()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine.txt").write_text("mine")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "zarr link").symlink_to("ours.ome.zarr")
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "file", "folder"),
    [
        ("new", "", ""),
        ("file", "", "is a file"),
        ("empty", "is a folder", ""),
        ("folder", "is a folder", "is not empty"),
        ("ours.ome.zarr", "is a folder", ""),
        ("strange.ome.zarr", "is a folder", r"holds labels/labels/notes.txt"),
        ("linked.ome.zarr", "is a folder", r"holds labels/labels/0/c/0/1"),
        ("named.ome.zarr", "is a folder", r"holds labels/theirs"),
        ("link", "is a link", "is a link"),
        ("dangling", "is a link", "is a link"),
        ("zarr link", "is a link", "is a link"),
        ("pipe", "is a device, pipe or socket", "is a device, pipe or socket"),
    ],
)
def test_what_may_be_replaced(places: Path, name: str, file: str, folder: str) -> None:
    before = tree(places)
    for as_folder, problem in ((False, file), (True, folder)):
        if problem:
            for overwrite in (True, False):
                with pytest.raises(FileExistsError, match=problem):
                    check_free(places / name, overwrite, folder=as_folder)
        else:
            check_free(places / name, True, folder=as_folder)
    assert tree(places) == before


def test_without_permission_nothing_is_replaced(places: Path) -> None:
    for name, folder in (("file", False), ("ours.ome.zarr", True)):
        with pytest.raises(FileExistsError, match="already there"):
            check_free(places / name, False, folder=folder)


def test_no_format_replaces_a_folder_of_others(places: Path) -> None:
    label_map = cases.objects(cases.hard())
    for format in FORMATS:
        for name in ("folder", "link", "dangling", "pipe", "strange.ome.zarr"):
            before = tree(places)
            with pytest.raises(FileExistsError):
                export_labels(label_map, places / name, format=format, overwrite=True)
            assert tree(places) == before


def test_companions_that_nobody_named_are_not_replaced(tmp_path: Path) -> None:
    cells = cases.objects(cases.hard())
    export_labels(cells, tmp_path / "a.png")
    export_labels(cells, tmp_path / "a.png", overwrite=True)
    (tmp_path / "a.classes.json").write_text('{"mine": 1}')
    before = tree(tmp_path)
    with pytest.raises(FileExistsError, match="napari-sdmae did not write it"):
        export_labels(cells, tmp_path / "a.png", overwrite=True)
    assert tree(tmp_path) == before


def test_labels_of_others_beside_a_picture_stay(places: Path) -> None:
    picture = places / "ours.ome.zarr"
    metadata = (picture / "zarr.json").read_text().replace('"sdmae"', '"other program"')
    (picture / "zarr.json").write_text(metadata)
    theirs = picture / "labels" / "labels" / "zarr.json"
    theirs.write_text(theirs.read_text().replace('"sdmae"', '"other program"'))
    before = tree(places)
    with pytest.raises(FileExistsError, match="is not empty"):
        export_labels(cases.objects(cases.hard()), picture, overwrite=True)
    assert tree(places) == before


@pytest.mark.parametrize("format", FORMATS)
def test_a_disk_that_takes_no_more_leaves_the_old_file(tmp_path: Path, format: str) -> None:
    path = tmp_path / f"a{FORMATS[format].suffixes[0]}"
    export_labels(cases.objects(cases.hard()), path, format=format)
    before, limits = tree(tmp_path), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40, limits[1]))
    try:
        with pytest.raises(OSError, match=re.escape(str(tmp_path))) as caught:
            export_labels(cases.objects(cases.hard()), path, format=format, overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.errno == errno.EFBIG
    assert tree(tmp_path) == before


def outcome(folder: Path) -> int:
    """Write two files that belong together; return the number of the error, 0 if there is none."""
    try:
        with atomic_files(folder, "z.json") as staging:
            for name in ("a.csv", "z.json"):
                write_atomically(staging / name, b"new")
    except OSError as error:
        return error.errno or -1
    return 0


def test_a_set_of_which_nothing_could_be_replaced_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.csv", "z.json"):
        (tmp_path / name).write_bytes(b"old")

    def failing(*arguments: object, **options: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    def replace() -> None:
        with atomic_files(tmp_path, "z.json", overwrite=True) as staging:
            for name in ("a.csv", "z.json"):
                write_atomically(staging / name, b"new")
            monkeypatch.setattr(os, "replace", failing)

    with pytest.raises(OSError, match="Input/output"):
        replace()
    assert tree(tmp_path) == {"a.csv": b"old", "z.json": b"old"}


@pytest.mark.parametrize("call", ["fsync", "replace", "rename"])
def test_an_error_of_the_disk_at_any_call_leaves_what_was_there(
    tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, left = getattr(os, call), 0

    def failing(*arguments: object, **options: object) -> object:
        nonlocal left
        left -= 1
        if not left:
            raise OSError(errno.EIO, "Input/output error")
        return real(*arguments, **options)

    monkeypatch.setattr(os, call, failing)
    found = []
    for number in range(1, 20):
        (tmp_path / str(number)).mkdir()
        left = number
        found.append((outcome(tmp_path / str(number)), tree(tmp_path / str(number))))
    whole = {"a.csv": b"new", "z.json": b"new"}
    assert found[0] == (errno.EIO, {})
    assert found[-1] == (0, whole)
    in_place = (errno.EIO, whole)  # an error of the last call, which flushes what is in its place already
    assert all(one in (found[0], found[-1]) or (call == "fsync" and one == in_place) for one in found)


KILLED = """
import os, sys
from pathlib import Path
from napari_sdmae.io import atomic

def kill_at(number):
    count = 0
    def dying(call):
        def wrapped(*arguments, **options):
            nonlocal count
            count += 1
            if count == number:
                os._exit(9)
            return call(*arguments, **options)
        return wrapped
    for name in ("rename", "replace", "fsync", "mkdir"):
        setattr(os, name, dying(getattr(os, name)))

root, overwrite = Path(sys.argv[1]), sys.argv[2] == "overwrite"
for number in range(1, 40):
    folder = root / str(number)
    folder.mkdir()
    if overwrite:
        for name in ("a", "b", "last"):
            (folder / name).write_text("old")
    child = os.fork()
    if not child:
        kill_at(number)
        with atomic.atomic_files(folder, "last", overwrite) as staging:
            for name in ("a", "b", "last"):
                atomic.write_atomically(staging / name, b"new")
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
        break
    atomic._cleared.clear()
    atomic.clear_leftovers(folder)
print(number)
"""


@pytest.mark.parametrize("overwrite", ["overwrite", "new"])
def test_killed_at_any_call_all_is_as_before_or_the_next_call_brings_it_to_an_end(tmp_path: Path, overwrite: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), overwrite], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 12
    before = {"a": b"old", "b": b"old", "last": b"old"} if overwrite == "overwrite" else {}
    after = {"a": b"new", "b": b"new", "last": b"new"}
    seen = [tree(folder) for folder in tmp_path.iterdir()]
    assert all(one in (before, after) for one in seen)
    assert before in seen
    assert after in seen


DYING = """
import os, sys
from pathlib import Path
from napari_sdmae.io.atomic import atomic_path
contexts = []
for path, folder in ((Path(sys.argv[1]) / "dead.csv", False), (Path(sys.argv[1]) / "dead.ome.zarr", True)):
    contexts.append(atomic_path(path, folder=folder))
    temporary = contexts[-1].__enter__()
    temporary.mkdir() if folder else temporary.write_text("half")
os._exit(9)
"""


def test_only_what_a_dead_process_surely_left_is_cleared(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", DYING, str(tmp_path)], check=False)
    dead = next(path for path in tmp_path.iterdir() if path.name.startswith(".dead.csv"))
    found = re.fullmatch(r"\.dead\.csv\.sdmae-(\w{8})-(\w{8})-(\w{8})-(\d+)-(\w{8})-\d+\.tmp", dead.name)
    assert found is not None
    machine, boot, space, process, start = found.groups()
    strange = "00000000"
    assert strange not in found.groups()
    alike = [
        reserved(tmp_path / "mine.csv").name,  # of this process, which lives
        f".a.sdmae-{strange}-{boot}-{space}-{process}-{start}-0.tmp",  # of another machine
        f".a.sdmae-{machine}-{boot}-{strange}-{process}-{start}-0.tmp",  # of another container
        f"a.sdmae-{machine}-{boot}-{space}-{process}-{start}-0.tmp",
        f".sdmae-{machine}-{boot}-{space}-{process}-{start}-0.tmp",
        f".a.sdmae-{machine}-{boot}-{space}-{process}-{start}-0.tmp.csv",
        f".a.sdmae-{machine}-{boot}-{space}-{process}-{start}-0.TMP",
        f".a.sdmae-{machine}-{boot}-{space}-{process}-{start}.tmp",
        f".a.sdmae-{machine.upper()}x-{boot}-{space}-{process}-{start}-0.tmp",
        f".a.{process}.tmp",
        ".a.tmp",
    ]
    for name in alike:
        (tmp_path / name).write_text("mine")
    link = f".link.sdmae-{machine}-{boot}-{space}-{process}-{start}-0.tmp"
    (tmp_path / link).symlink_to(tmp_path)
    (tmp_path / f".b.sdmae-{machine}-{strange}-{space}-{process}-{start}-0.tmp").write_text("before the machine started anew")
    atomic._cleared.clear()
    clear_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*alike, link])


def test_a_folder_whose_process_died_while_another_took_its_place_comes_back(tmp_path: Path) -> None:
    export_labels(cases.objects(cases.hard()), tmp_path / "a.ome.zarr")
    before = tree(tmp_path)
    code = "import os, sys; from pathlib import Path; from napari_sdmae.io import leftovers as l; "
    code += "p = Path(sys.argv[1]); p.rename(l.reserved(p, l.REPLACED)); os._exit(9)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.ome.zarr")], check=False)
    assert not (tmp_path / "a.ome.zarr").exists()
    atomic._cleared.clear()
    clear_leftovers(tmp_path)
    assert tree(tmp_path) == before


def test_an_empty_folder_is_filled_and_not_exchanged(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    same = (tmp_path / "empty").stat().st_ino
    with atomic_path(tmp_path / "empty", folder=True) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "a").write_text("new")
    assert tree(tmp_path / "empty") == {"sub": "folder", "sub/a": b"new"}
    assert (tmp_path / "empty").stat().st_ino == same
    with pytest.raises(FileExistsError, match="is not empty"), atomic_path(tmp_path / "empty", folder=True):
        raise AssertionError
