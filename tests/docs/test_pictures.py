"""The pictures of the terminal in the documentation show what the dashboard draws today."""

import re

import pytest

from docs.generate.picture import IMAGES, SCREENS, picture, screen_text

TEXT = re.compile(r"<text [^>]*?y=\"([\d.]+)\"[^>]*>(.*?)</text>", re.DOTALL)
STALE = "the dashboard draws something else by now: python -m docs.generate.picture"


def lines_of(svg: str) -> list[str]:
    """The text of an SVG line by line, whatever its colours, fonts and pixels."""
    rows: dict[str, str] = {}
    for height, text in TEXT.findall(svg):
        rows[height] = rows.get(height, "") + re.sub(r"&#160;", " ", text)
    return [line.strip() for line in rows.values()]


def test_the_picture_shows_the_words_of_the_dashboard() -> None:
    """The SVG of the README has the lines that the real dashboard draws over the same stack."""
    kept = lines_of((IMAGES / "dashboard.svg").read_text("utf-8"))
    assert any("inference" in line for line in kept)
    assert kept == lines_of(picture()), STALE


@pytest.mark.parametrize("name", SCREENS)
def test_the_screens_are_those_of_the_dashboard(name: str) -> None:
    """Each screen that is kept as text is what the real dashboard draws at that size, after those keys."""
    assert (IMAGES / f"{name}.txt").read_text("utf-8") == screen_text(name), STALE
