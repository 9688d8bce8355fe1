"""Small pieces of Markdown: tables and a word about where a page comes from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["GENERATED", "cell", "table"]

GENERATED = "<!-- Written by `python -m docs.generate`; change the source, not this page. -->"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; every cell is made safe."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(cell(each) for each in row)} |" for row in rows]
    return "\n".join(lines)


def cell(text: str) -> str:
    """Text on one line, with nothing in it that would end the cell."""
    return " ".join(text.split()).replace("|", "\\|")
