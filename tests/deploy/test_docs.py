"""The pages: links, names of files and commands lead somewhere, and what is generated is fresh."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from deploy.docs import build
from hub.commands.cli import app
from tests.deploy.tree import DEPLOY, ROOT

PLACEHOLDERS = ("ROLE", "NAME")

PAGES = [ROOT / "README.md", *sorted(DEPLOY.rglob("*.md"))]

COMMANDS: Any = typer.main.get_command(app)
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))

of_page = pytest.mark.parametrize("page", PAGES, ids=lambda one: str(one.relative_to(ROOT)))


@of_page
def test_what_a_page_names_is_there(page: Path) -> None:
    text = page.read_text("utf-8")
    for link in re.findall(r"\]\(([^)#\s]+)\)", text):
        if "://" not in link:
            assert (page.parent / link).exists(), link
    for name in re.findall(r"`((?:deploy|tests|hub|api|protocol|workers)/[\w./@-]+)", text):
        if not any(word in name for word in PLACEHOLDERS):
            assert (ROOT / name).exists(), name


@of_page
def test_every_command_of_a_page_is_one(page: Path) -> None:
    """`dongne …` with its options, `make …`, and scripts of deploy."""
    for program, *words in commands(page.read_text("utf-8")):
        if program == "make" and words:
            assert words[0] in TARGETS or "=" in words[0], f"make {words[0]}"
        if program.endswith("dongne") and words and words[0].isalpha():
            command = COMMANDS.commands.get(words[0])
            assert command is not None, f"dongne {words[0]}"
            known = {name for option in command.params for name in option.opts}
            given = {word.partition("=")[0] for word in words if word.startswith("--")}
            assert given <= known | {"--help"}, f"dongne {words[0]} {given - known}"
        if program.startswith("deploy/") and not any(word in program for word in PLACEHOLDERS):
            assert (ROOT / program).exists(), program


def commands(text: str) -> Iterator[list[str]]:
    """Words of what stands as a command: in backticks, or on a line of a block."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"^ {4,}(\S.*)$", text, re.MULTILINE)
    for line in [*lines, *re.findall(r"`([^`\n]+)`", text)]:
        words = line.partition("  #")[0].split()
        if words:
            yield words


def test_the_settings_page_is_that_of_the_code() -> None:
    assert build.PAGE.read_text("utf-8") == build.text(), "run python -m deploy.docs.build"


def test_the_start_page_leads_to_every_page() -> None:
    start = (DEPLOY / "docs" / "README.md").read_text("utf-8")
    for page in (DEPLOY / "docs").glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in start, page.name
