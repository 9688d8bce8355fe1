"""Which screens are captured from a real terminal, in which sizes, and how docs/screens.md shows them."""

from __future__ import annotations

from pathlib import Path

__all__ = ["BEGIN", "END", "SCENES", "SIZES", "page_section"]

SIZES = ((92, 24), (60, 16), (130, 40))
"""Cells; the first is what the page shows, and the first to be started on a machine."""

SCENES = {
    "no-file": ("`lucid-launch up` in an empty folder", "what is missing, and the two ways on"),
    "init": ("`lucid-launch init`", "what it found on this machine, and what comes next"),
    "broken-file": (
        "`lucid-launch up` with mistakes in the file",
        "all of them at once, each with its place",
    ),
    "first-run-steps": ("`lucid-launch up` for the first time", "phases, progress and times while it starts"),
    "first-run": ("… and once it is ready", "what stays on the screen when the dashboard has been left"),
    "dashboard": ("The dashboard, while somebody asks", "every service, and the log of all of them"),
    "solo": ("One service", "its log, its figures, its exits, its settings and lines to copy"),
    "ctrl-c": ("Ctrl-C in the dashboard", "asks; `q` leaves everything running without a question"),
    "status": ("`lucid-launch status`", "the same figures once"),
    "running-already": ("`lucid-launch up` when everything runs", "says so, and changes nothing"),
    "down": ("`lucid-launch down`", "in reverse order"),
    "second-run": ("`lucid-launch up` again", "the engines were measured at the first start"),
    "crash-loop": (
        "`lucid-launch status` with a service that cannot start",
        "the reason, its last words, the mend",
    ),
}
"""Every scene by the name of its files: what is typed, and what to look at."""

BEGIN = "<!-- what follows is written by: python -m docs.generate.terminal_screens -->"
END = "<!-- end of what is written -->"


def page_section(page: str, images: Path) -> str:
    """The page with the captures in `images` between its two marks; raises ValueError for one without them."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError("the page has lost the marks between which the captures stand")
    return f"{head}{BEGIN}\n\n{_section(images)}\n{END}{tail}"


def _section(images: Path) -> str:
    (width, height), *others = SIZES
    parts = []
    for scene, (typed, about) in SCENES.items():
        text = (images / f"{scene}-{width}x{height}.txt").read_text("utf-8")
        links = ", ".join(_link(scene, *size) for size in sorted(others, reverse=True))
        parts.append(
            f"### {typed}\n\n{about[0].upper()}{about[1:]}; also at {links}.\n\n```text\n{text}```\n"
        )
    return "\n".join(parts)


def _link(scene: str, width: int, height: int) -> str:
    return f"[{width} × {height}](images/terminal/{scene}-{width}x{height}.txt)"
