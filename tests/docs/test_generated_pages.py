"""The documentation that is written from the code, and the links between pages."""

import re
from pathlib import Path

import pytest

from docs.generate.__main__ import PAGES

ROOT = Path(__file__).parents[2]
WRITTEN = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_generated_pages_are_current(page: Path) -> None:
    """A page that comes from the code says what the code says; `python -m docs.generate` writes it."""
    assert page.read_text(encoding="utf-8") == PAGES[page]()


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_link_leads_nowhere(page: Path) -> None:
    """Every relative link of a page leads to a file of the project."""
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
