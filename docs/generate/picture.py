"""Draws docs/images/dashboard.svg with the real dashboard over the stack of `demo`, and screens as text.

    python -m docs.generate.picture

The dashboard gets its snapshots directly instead of over a socket; everything else is what runs in a
terminal. The
picture refers to no font on the network: whoever looks at it has a monospaced one.
"""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
import time
from pathlib import Path

from textual.pilot import Pilot

from docs.generate import demo
from launcher.dashboard.app import Dashboard

__all__ = ["IMAGES", "SCREENS", "picture", "screen_text"]

IMAGES = Path(__file__).parents[1] / "images"
TITLE = "lucid-launch dashboard"
SIZE = (132, 36)
SCREENS = {
    "dashboard-130x40": ((130, 40), ()),
    "dashboard-92x24": ((92, 24), ()),
    "dashboard-60x16": ((60, 16), ()),
    "dashboard-40x12": ((40, 12), ()),
    "solo-130x40": ((130, 40), ("down", "down", "enter")),
    "events-92x24": ((92, 24), ("v",)),
    "help-92x40": ((92, 40), ("question_mark",)),
    "palette-92x24": ((92, 24), ("ctrl+p", "r", "e", "s")),
}
_FONT_FACE = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)
_FONTS = "ui-monospace, 'Cascadia Mono', 'JetBrains Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"


class StillDashboard(Dashboard):
    """The dashboard over given snapshots: it listens to no supervisor."""

    async def listen(self) -> None:
        """Take the whole history at once, the newest snapshot last."""
        self.on_events(demo.events(), is_all=True)
        for document in demo.documents():
            self.on_snapshot(document)


async def _drawn(app: Dashboard, pilot: Pilot[str], keys: tuple[str, ...]) -> None:
    """Return when the log is there and the keys have been pressed."""
    async with asyncio.timeout(30):
        while not len(app.log_view.ring):
            await pilot.pause()
    for key in keys:
        await pilot.press(key)
    for worker in [each for each in app.workers if each.name == "exits"]:
        await worker.wait()
    await pilot.pause()


async def _run(size: tuple[int, int], keys: tuple[str, ...]) -> tuple[str, list[str]]:
    """The screen as SVG and as lines of text."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = Path(__file__).parents[2] / "config.yaml"
        (folder / "config.yaml").write_text(config.read_text("utf-8"), encoding="utf-8")
        demo.write_logs(folder / "logs")
        app = StillDashboard(folder / "config.yaml")
        async with app.run_test(size=size) as pilot:
            await _drawn(app, pilot, keys)
            strips = app.screen._compositor.render_strips()  # the one place that holds the drawn cells
            lines = ["".join(segment.text for segment in strip).rstrip() for strip in strips]
            return app.export_screenshot(title=TITLE), lines


def _in_utc() -> None:
    """The same clock on every machine that draws."""
    os.environ["TZ"] = "UTC"
    os.environ.pop("NO_COLOR", None)
    time.tzset()


def picture() -> str:
    """The SVG text; the same on every call."""
    _in_utc()
    svg, _ = asyncio.run(_run(SIZE, ()))
    svg = _FONT_FACE.sub("", svg)
    identifier = re.search(r"terminal-(\d+)", svg)
    if identifier is not None:
        svg = svg.replace(f"terminal-{identifier[1]}", "lucid")
    return re.sub(r"font-family: ?[^;]+;", f"font-family: {_FONTS};", svg)


def screen_text(name: str) -> str:
    """One of SCREENS as text, ending with a newline."""
    _in_utc()
    size, keys = SCREENS[name]
    _, lines = asyncio.run(_run(size, keys))
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the picture and the screens."""
    IMAGES.mkdir(exist_ok=True)
    (IMAGES / "dashboard.svg").write_text(picture(), encoding="utf-8")
    for name in SCREENS:
        (IMAGES / f"{name}.txt").write_text(screen_text(name), encoding="utf-8")


if __name__ == "__main__":
    main()
