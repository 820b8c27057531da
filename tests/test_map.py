"""The map of docs/architecture.md is the tree."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROW = re.compile(r"^\| `([\w./]+)` \| (.*?) \| .+ \|$", re.MULTILINE)


def test_the_map_shows_every_room_and_every_file() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    shown = {room: sorted(re.findall(r"`(\w+)`", files)) for room, files in ROW.findall(text.split("## The map")[1])}
    package = ROOT / "napari_sdmae"
    rooms = {file.parent for file in package.rglob("__init__.py")}
    assert shown == {
        room.relative_to(package).as_posix(): sorted(file.stem for file in room.glob("*.py") if file.stem != "__init__")
        for room in rooms
    }
