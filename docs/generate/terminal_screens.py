"""Captures docs/images/terminal/*.txt from a real terminal, and shows them in docs/screens.md.

    python -m docs.generate.terminal_screens

A private tmux server, a shell in it, and what a person would type: both servers as they come, with the real
model. Nothing is drawn by hand. Only what belongs to the machine is replaced, by as many characters: the folder,
the ports, the time of day (see `plain_screen`). The first start measures the engines, which takes a minute.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from docs.generate.plain_screen import FIRST_PORT, plain
from docs.generate.terminal_scenes import SCENES, SIZES, page_section
from tests.integration.stack import Stack
from tests.terminal.tmux import Terminal

__all__ = ["IMAGES", "PAGE"]

DOCS = Path(__file__).parents[1]
IMAGES = DOCS / "images" / "terminal"
PAGE = DOCS / "screens.md"
_TAKES_OUT = {"NO_COLOR", "TERM", "COLUMNS", "LINES", "TMUX", "LC_ALL", "LC_CTYPE"}
_START_S = 180.0
_BROKEN = (("port: {memory}", "prot: {memory}"), ("gpu: none", "gpu: 7x"))
_TRAFFIC = (
    "call",
    "inference",
    "embeddings",
    "text=how many lines of code are too many",
    "--count",
    "100000",
)
# For long enough that the figures have a history; and requests a second stand right of the VRAM.
_UNDER_LOAD = (r"up (2\d|[3-9]\d)s|up \dm", r"> inference .*[-MG]\s+[1-9]")
_CRASHING = """\
  indexer:
    command: [sh, -c, "echo 'opening /srv/share/index' >&2; echo 'Connection timed out: /srv/share' >&2; exit 1"]
    restart: {max_failures: 3, backoff: {initial: 50ms}}
"""


@dataclass
class Tour:
    """One terminal of one size in the folder of one stack, and the screens that were seen in it."""

    stack: Stack
    terminal: Terminal
    size: str
    first_port: int

    def keep(self, scene: str, text: str) -> None:
        """Write a screen down."""
        IMAGES.mkdir(parents=True, exist_ok=True)
        kept = plain(text, str(self.stack.root), self.first_port)
        (IMAGES / f"{scene}-{self.size}.txt").write_text(kept, encoding="utf-8")
        print(f"{scene}-{self.size}")

    def verb(self, scene: str, line: str) -> None:
        """A verb that ends, and what it left on the screen."""
        self.keep(scene, self.terminal.run_to_end(f"clear; {line}")[0])

    def still(self, *wanted: str, matching: Sequence[str] = ()) -> str:
        """The screen once it shows all of that and nothing moves between two looks."""
        before = ""

        def is_still(text: str) -> bool:
            nonlocal before
            is_same, before = text == before, text
            is_there = all(each in text for each in wanted)
            return is_same and is_there and all(re.search(each, text) for each in matching)

        return self.terminal.until(is_still, f"{wanted} never stood still")

    def first_files(self) -> None:
        """No file, the one that is written for this machine, and one with mistakes."""
        self.stack.config.unlink(missing_ok=True)
        self.verb("no-file", "lucid-launch up")
        self.verb("init", "lucid-launch init")
        text = self.stack.config.read_text("utf-8")
        good = re.sub(
            r"\b50(0\d|1[0-4])\b", lambda found: str(int(found[0]) - FIRST_PORT + self.first_port), text
        )
        bad = good
        for right, wrong in _BROKEN:
            bad = bad.replace(right.format(memory=self.first_port), wrong.format(memory=self.first_port), 1)
        self.stack.config.write_text(bad, encoding="utf-8")
        self.verb("broken-file", "lucid-launch up")
        self.stack.config.write_text(good, encoding="utf-8")

    def starts(self) -> None:
        """The first start with its steps, everything running already, an end, the second start."""
        self.up("first-run", steps="first-run-steps")
        self.up("running-already")
        self.verb("down", "lucid-launch down")
        self.up("second-run")

    def up(self, scene: str, *, steps: str | None = None) -> None:
        """`up` on a terminal: its steps, then the dashboard; kept is what stands there when that has been left."""
        self.terminal.type("clear; lucid-launch up")
        self.terminal.press("Enter")
        if steps is not None:
            self.keep(steps, self.terminal.until(lambda text: "%" in text and "█" in text, "no progress"))
        self.terminal.until(lambda text: "2/2" in text, "the dashboard never came")
        self.terminal.press("q")
        self.keep(scene, self.terminal.shows("left running", "%"))

    def at_work(self) -> None:
        """The dashboard, one service, the question of Ctrl-C, and `status`, all under load."""
        with self.traffic():
            self.terminal.type("clear; lucid-launch dashboard")
            self.terminal.press("Enter")
            self.terminal.shows("2/2")
            self.terminal.press("Down")
            self.keep("dashboard", self.still("2/2", matching=_UNDER_LOAD))
            self.terminal.press("Enter")
            self.keep("solo", self.still("inference", "call"))
            self.terminal.press("Escape")
            self.terminal.shows("SERVICE")
            self.terminal.press("C-c")
            self.keep("ctrl-c", self.still("What about the services?"))
            self.terminal.press("l")
            self.terminal.shows("left running")
            self.verb("status", "lucid-launch status")

    @contextlib.contextmanager
    def traffic(self) -> Iterator[None]:
        """Somebody who asks the inference server all the time."""
        asking = subprocess.Popen(
            [sys.executable, "-m", "launcher", *_TRAFFIC],
            cwd=self.stack.root,
            env=self.stack.environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield
        finally:
            asking.kill()
            asking.wait()

    def in_trouble(self) -> None:
        """A service that cannot start, beside others that do not mind."""
        good = self.stack.config.read_text("utf-8")
        self.stack.config.write_text(good + _CRASHING, encoding="utf-8")
        self.stack.run("up", "-d", "--wait", check=None)
        self.verb("crash-loop", "lucid-launch status")
        self.stack.config.write_text(good, encoding="utf-8")
        self.stack.run("up", "-d", "--wait")


def tour(width: int, height: int, cache: Path) -> None:
    """Everything once, in a terminal of that size."""
    with contextlib.ExitStack() as held:
        # As long as what it will be called, and a good name for a project.
        folder = Path("/tmp", f"s{uuid4().hex[:7]}")
        folder.mkdir(mode=0o700)
        held.callback(shutil.rmtree, folder)
        stack = Stack(folder, config="services: {}")
        held.callback(stack.close)
        environ = {name: value for name, value in stack.environ.items() if name not in _TAKES_OUT}
        more = {"LANG": "C.UTF-8", "TZ": "UTC", "PYTHONPATH": os.getcwd(), "XDG_CACHE_HOME": str(cache)}
        stack.environ |= more
        terminal = Terminal(folder, environ | more, width, height, patience_s=_START_S)
        held.callback(terminal.close)
        visit = Tour(stack, terminal, f"{width}x{height}", short_port())
        parts: tuple[Callable[[], None], ...] = (
            visit.first_files,
            visit.starts,
            visit.at_work,
            visit.in_trouble,
        )
        for part in parts:
            part()


def short_port() -> int:
    """A port of four digits that is free on loopback, as the one five above it is."""
    for port in range(6100, 9900, 20):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            socket.create_server(("127.0.0.1", port + 5)).close()
            return port
    raise SystemExit("no free ports of four digits on loopback")


def main() -> None:
    """Capture every scene in every size, the widest last, then write the page."""
    with tempfile.TemporaryDirectory() as cache:
        for width, height in SIZES:
            tour(width, height, Path(cache))
    PAGE.write_text(page_section(PAGE.read_text("utf-8"), IMAGES), encoding="utf-8")
    assert {path.stem.rpartition("-")[0] for path in IMAGES.glob("*.txt")} == set(SCENES)


if __name__ == "__main__":
    main()
