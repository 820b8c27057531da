"""The documentation as a site: it builds strictly, asks the network for nothing, and has the page of every dock."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
MKDOCS = ROOT / ".venv-docs" / "bin" / "mkdocs"
REQUEST = re.compile(
    r"<(?:script|img|iframe|source|embed|object|video|audio)\b[^>]*?\b(?:src|data|srcset)=[\"']?((?:https?:)?//[^\s\"'>]+)"
    r"|<link\b[^>]*?\bhref=[\"']?((?:https?:)?//[^\s\"'>]+)"
    r"|(?:url\(|@import\s+)[\"']?((?:https?:)?//[^\s\"')]+)"
)
"""What a browser fetches by itself: not the links that a person may follow."""
LARGEST = 6_000_000
"""Bytes of the site, which travels in the wheel."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert MKDOCS.exists(), "the site is built in an environment of its own: run `make docs` once"
    folder = tmp_path_factory.mktemp("site")
    command = [str(MKDOCS), "build", "--quiet", "--strict", "--site-dir", str(folder)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


def requests(text: str) -> list[str]:
    """What a browser that opens `text` asks the network for."""
    return [next(filter(None, groups)) for groups in REQUEST.findall(text)]


def test_requests_are_found() -> None:
    assert requests('<link rel="stylesheet" href="https://fonts.googleapis.com/css?family=Roboto">')
    assert requests("<script defer src=https://unpkg.com/iframe-worker/shim></script>")
    assert requests('<img alt="x" src="//example.org/x.png">')
    assert requests("@font-face{src:url(https://fonts.gstatic.com/x.woff2)}")
    assert not requests('<a href="https://arxiv.org/abs/2203.16983">paper</a> <img src="../x.png">')


def test_no_page_asks_the_network_for_anything(site: Path) -> None:
    files = [file for suffix in ("html", "css") for file in site.rglob(f"*.{suffix}")]
    assert len(files) > 30
    asked = {file.name: requests(file.read_text(encoding="utf-8")) for file in files}
    assert not {name: urls for name, urls in asked.items() if urls}


def test_scripts_that_load_more_have_no_reason_to(site: Path) -> None:
    """The theme's script fetches mermaid for diagrams and counts stars of a repository: neither is there."""
    pages = [page.read_text(encoding="utf-8") for page in site.rglob("*.html")]
    assert not any('class="mermaid"' in page or 'data-md-component="source"' in page for page in pages)


def test_search_works_from_the_disk(site: Path) -> None:
    assert (site / "search" / "search_index.js").read_text(encoding="utf-8").startswith("var __index = ")
    page = (site / "guide" / "segment.html").read_text(encoding="utf-8")
    assert "../javascripts/iframe-worker.js" in page
    assert (site / "javascripts" / "iframe-worker.js").is_file()


def test_every_dock_has_its_page(site: Path) -> None:
    manifest = yaml.safe_load((ROOT / "napari_sdmae" / "napari.yaml").read_text(encoding="utf-8"))
    docks = [widget["display_name"] for widget in manifest["contributions"]["widgets"]]
    assert len(docks) == 6
    for dock in docks:
        assert (site / "guide" / f"{dock.lower()}.html").is_file()


def test_the_site_is_small(site: Path) -> None:
    assert sum(file.stat().st_size for file in site.rglob("*") if file.is_file() and file.suffix != ".map") < LARGEST
