"""The checks of `make lint`: pre-commit runs the same ones, offline, and the word list of typos lets nothing else pass."""

import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]


def recipe(target: str) -> list[str]:
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert found, f"the Makefile has no target {target}"
    return [line.strip().replace("$(BIN)", ".venv/bin") for line in found[1].splitlines()]


def test_pre_commit_runs_what_make_lint_runs_and_nothing_from_elsewhere() -> None:
    repos = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    hooks = [hook for repo in repos for hook in repo["hooks"]]
    assert {repo["repo"] for repo in repos} == {"local"}
    assert {hook["language"] for hook in hooks} == {"system"}
    assert all(hook["always_run"] and not hook["pass_filenames"] for hook in hooks)
    assert [hook["entry"] for hook in hooks] == recipe("lint")


def test_typos_knows_our_terms_and_finds_misspelt_words(tmp_path: Path) -> None:
    typos, text = Path(sys.executable).with_name("typos"), tmp_path / "words.md"

    def found(words: str) -> list[str]:
        text.write_text(words)
        command = [typos, "--config", ROOT / "pyproject.toml", "--format", "brief", text]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()

    assert found("InfoNCE of HED stains in an OME-TIFF or .nd2 file") == []
    assert len(found("seveicer leddom eht"[::-1])) == 2
