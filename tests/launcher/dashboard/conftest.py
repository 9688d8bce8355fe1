"""A dashboard on a scripted supervisor, its screen as text, and a way to wait for what it shows."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from launcher.dashboard.app import Dashboard
from tests.launcher.control_double import ControlDouble, two_services

PATIENCE_S = 20.0


class Screen:
    """What a person sees of a running dashboard, and the keys that a person presses."""

    def __init__(self, app: Dashboard, pilot: Pilot[str]) -> None:
        self.app = app
        self.pilot = pilot

    def text(self) -> str:
        """The whole screen, one line per row."""
        strips = self.app.screen._compositor.render_strips()  # the one place that holds the drawn cells
        return "\n".join("".join(segment.text for segment in strip) for strip in strips)

    def lines(self) -> list[str]:
        """The rows of the screen."""
        return self.text().split("\n")

    async def shows(self, *wanted: str, without: str | None = None) -> str:
        """Wait until every text of `wanted` is on the screen (and `without` is not); returns the screen."""

        def is_there() -> bool:
            text = self.text()
            return all(each in text for each in wanted) and (without is None or without not in text)

        await self.until(
            is_there,
            lambda: (
                f"{wanted} without {without!r} never came:\n"
                + "\n".join(line for line in self.lines() if line.strip())
            ),
        )
        return self.text()

    async def until(self, condition: Callable[[], bool], complaint: Callable[[], str]) -> None:
        """Let the dashboard work until `condition` holds."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not condition():
                    await self.pilot.pause()
        except TimeoutError:
            pytest.fail(complaint())


Open = Callable[..., AbstractAsyncContextManager[Screen]]


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with logs and a runtime folder of its own."""
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.delenv("NO_COLOR", raising=False)
    (tmp_path / "config.yaml").write_text("project: lucid\n")
    (tmp_path / "logs").mkdir()
    return tmp_path


@pytest.fixture
def control(stack: Path) -> Iterator[ControlDouble]:
    """A supervisor with one ready and one starting service."""
    double = ControlDouble(stack / "config.yaml", two_services())
    yield double
    double.close()


@pytest.fixture
def open_dashboard(stack: Path) -> Open:
    """Open the dashboard at a size (columns, rows)."""

    @asynccontextmanager
    async def opened(width: int = 130, height: int = 40) -> AsyncIterator[Screen]:
        app = Dashboard(stack / "config.yaml", retry_s=0.01, log_interval_s=0.05)
        async with app.run_test(size=(width, height), notifications=True) as pilot:
            yield Screen(app, pilot)

    return opened


@pytest.fixture
def write_log(stack: Path) -> Callable[..., None]:
    """Append lines to a child's log as the supervisor writes them."""

    def write(child: str, *texts: str, second: int = 0, stream: str = "stdout") -> None:
        with open(stack / "logs" / f"{child}.log", "a", encoding="utf-8") as file:
            file.writelines(f"2026-11-23T14:02:{second:02d}.655123Z {stream} | {text}\n" for text in texts)

    return write
