"""The line that says why a service is not ready, in one line and its last words.

Pure; everything that a child wrote is made harmless here.
"""

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from launcher.terminal.reasons import has_reason, headline
from launcher.terminal.rows import not_ready
from launcher.terminal.sanitize import clean

__all__ = ["child_in_trouble", "trouble_line"]


def child_in_trouble(document: Mapping[str, Any] | None, selected: str | None) -> Mapping[str, Any] | None:
    """The child to speak of: the selected one when it has a reason, else the first that has."""
    if document is None:
        return None
    troubled = [child for child in not_ready(document) if has_reason(child)]
    chosen = [child for child in troubled if child["name"] == selected]
    return next(iter(chosen or troubled), None)


def trouble_line(child: Mapping[str, Any] | None, *, ascii_only: bool = False) -> Text:
    """` memory: backoff, 8 s: exited 1 after 4s  │ database is locked`; empty for None."""
    if child is None:
        return Text("")
    tail = (child.get("last_exit") or {}).get("stderr_tail") or []
    last_words = f"  {'|' if ascii_only else '│'} {clean(str(tail[-1]))}" if tail else ""
    text = f" {clean(str(child['name']))}: {headline(child)}{last_words}"
    return Text(no_wrap=True, overflow="ellipsis").append(text, style="yellow")
