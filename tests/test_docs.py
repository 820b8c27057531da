"""README and docs: links lead somewhere, every decision is in the index, lines can be read in a terminal."""

import re
import subprocess
from datetime import date
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[1]
DECISIONS = ROOT / "docs" / "decisions"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
ROW = re.compile(r"^\| \[(\d{4}) [^\]]+\]\(([^)]+)\) \| (accepted|superseded by \d{4}) \| (\d{4}-\d\d-\d\d) \|$", re.M)
LIST_ITEM = re.compile(r"^- .+ \(\d{4}\): (.+)$", re.M)
LONGEST = 100
"""Characters of a line of prose; tables, headings and pictures may be longer."""
LAST_WORD = 60
"""A link is one word, which is not broken."""


def prose(page: Path) -> str:
    """The page without blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def anchor(heading: str) -> str:
    """The anchor of a heading, as Python-Markdown and GitHub make it of plain words."""
    return re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading.lower())).strip("-")


def anchors(page: Path) -> set[str]:
    return {anchor(heading) for heading in re.findall(r"^#+ (.+)$", prose(page), re.M)}


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(prose(page)):
        if re.match(r"(https?|mailto|doi):", target):
            continue
        path, _, fragment = unquote(target).partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{target}: no such file"
        assert not fragment or fragment in anchors(file), f"{target}: no such heading"


def test_docstrings_refer_to_what_the_method_page_has() -> None:
    """``(method, step 4)`` leads to the fourth of the numbered steps, every other ``(method, …)`` to a heading."""
    page = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    headings, steps = re.findall(r"^## (.+)$", page, re.M), re.findall(r"^(\d)\. ", page, re.M)
    sources = [*(ROOT / "napari_sdmae").rglob("*.py"), ROOT / "docs" / "architecture.md"]
    reference = re.compile(r"\(method, (steps? [^);]+|[A-Z][^);]+)\)")
    found = [place for path in sources for place in reference.findall(path.read_text(encoding="utf-8"))]
    assert len(found) > 10
    for place in found:
        numbers = re.findall(r"\d", place) if place.startswith("step") else []
        assert set(numbers) <= set(steps) if numbers else place in headings, place


def test_every_page_is_reached_from_the_site_and_every_record_from_the_index() -> None:
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in PAGES[3:]:
        place = page.relative_to(ROOT / "docs").as_posix()
        assert re.match(r"decisions/\d", place) or f": {place}\n" in site, place


def test_the_index_lists_every_decision_with_its_date() -> None:
    rows = ROW.findall((DECISIONS / "index.md").read_text(encoding="utf-8"))
    assert sorted(file for _, file, _, _ in rows) == sorted(file.name for file in DECISIONS.glob("[0-9]*.md"))
    for number, file, status, day in rows:
        assert file.startswith(number)
        assert date(2026, 11, 23) <= date.fromisoformat(day) <= date.today()
        assert (DECISIONS / file).read_text(encoding="utf-8").startswith(f"# {number} ")
        if status != "accepted":
            assert status.removeprefix("superseded by ") in {other for other, *_ in rows}


def test_dates_of_decisions_are_those_of_their_first_commits() -> None:
    """A record that was renamed may be older than its file, never younger."""
    for _, file, _, day in ROW.findall((DECISIONS / "index.md").read_text(encoding="utf-8")):
        log = ["git", "log", "--full-history", "--format=%as", "--", f"docs/decisions/{file}"]
        first = subprocess.run(log, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()[-1:]
        assert not first or day <= first[0], file


def test_the_index_names_modules_that_exist() -> None:
    listed = LIST_ITEM.findall((DECISIONS / "index.md").read_text(encoding="utf-8"))
    assert len(listed) > 40
    for item in listed:
        for path in re.findall(r"`([^`]+)`", item):
            assert (ROOT / "napari_sdmae" / path).is_file() or (ROOT / path).is_file(), path


def test_decisions_named_in_the_code_exist() -> None:
    numbers = {file.name[:4] for file in DECISIONS.glob("[0-9]*.md")}
    folders = [ROOT / folder for folder in ("napari_sdmae", "benchmarks", "tests", "resources")]
    for folder in folders:
        for file in (*folder.rglob("*.py"), *folder.rglob("*.yaml"), *folder.rglob("*.md")):
            for number in re.findall(r"decisions?[/ ](\d{4})", file.read_text(encoding="utf-8")):
                assert number in numbers, f"{name(file)} names decision {number}"


def test_prose_is_wrapped() -> None:
    for page in PAGES:
        for line in prose(page).splitlines():
            whole = line.startswith(("|", "#", "!")) or " " not in line.strip().removeprefix("- ")
            assert whole or page.parent == DECISIONS or len(line) <= LONGEST + LAST_WORD, f"{name(page)}: {line}"


def test_the_readme_is_short_and_shows_one_picture() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert 350 <= len(re.findall(r"\w[\w'’-]*", re.sub(r"\]\([^)]+\)", "]", text))) <= 650
    assert len(re.findall(r"!\[", text)) == 1
    for command in re.findall(r"^make ([a-z]+)", text, re.M):
        assert f"\n{command}:" in (ROOT / "Makefile").read_text(encoding="utf-8"), command
