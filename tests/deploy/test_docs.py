"""The pages: links and names of files lead somewhere, and what is generated is fresh."""

import re
from pathlib import Path

import pytest

from deploy.docs import build
from tests.deploy.tree import DEPLOY, ROOT

PLACEHOLDERS = ("ROLE", "NAME")
AHEAD = ("workers/channels",)
"""Named before it is there: take it out when it is."""

PAGES = [ROOT / "README.md", *sorted(DEPLOY.rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda one: str(one.relative_to(ROOT)))
def test_what_a_page_names_is_there(page: Path) -> None:
    text = page.read_text("utf-8")
    for link in re.findall(r"\]\(([^)#\s]+)\)", text):
        if "://" not in link:
            assert (page.parent / link).exists(), link
    for name in re.findall(r"`((?:deploy|tests|hub|api|protocol|workers)/[\w./@-]+)", text):
        if not any(word in name for word in (*PLACEHOLDERS, *AHEAD)):
            assert (ROOT / name).exists(), name


def test_the_settings_page_is_that_of_the_code() -> None:
    assert build.PAGE.read_text("utf-8") == build.text(), "run python -m deploy.docs.build"


def test_the_start_page_leads_to_every_page() -> None:
    start = (DEPLOY / "docs" / "README.md").read_text("utf-8")
    for page in (DEPLOY / "docs").glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in start, page.name
