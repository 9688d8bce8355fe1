"""`up` where no full screen is possible, or `--foreground`: a line per event until a signal ends the
stack.
"""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from launcher.commands.goals import ready_goal
from launcher.control_client import connect
from launcher.errors import NotRunning
from launcher.terminal.event_lines import EventLines
from launcher.terminal.output import Output
from launcher.terminal.step_list import address_lines

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
EXIT_TIMED_OUT = 124


class Foreground:
    """One run of the plain mode: prints events, and turns signals into an orderly stop.

    The first SIGINT or SIGTERM stops the stack gracefully, the second at once.
    """

    def __init__(self, config_path: Path, output: Output, timeout_s: float | None) -> None:
        self._config_path = config_path
        self._output = output
        self._timeout_s = timeout_s
        self._signals: asyncio.Queue[None] = asyncio.Queue()
        self._ready = asyncio.Event()
        self._early_exit_code = EXIT_FAILED
        self._wanted: frozenset[str] = frozenset()
        self._is_ending = False

    async def run(self) -> int:
        """Return when the stack has ended: 0, 130 when interrupted before ready, 124 when not ready in
        time.
        """
        async with _signals_into(self._signals):
            printing = asyncio.create_task(self._print())
            stopping = asyncio.create_task(self._stop_on_signals())
            late = asyncio.create_task(self._stop_when_late())
            try:
                # A failing helper ends the wait as well, so that its error is not lost.
                await asyncio.wait({printing, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if stopping.done():
                    stopping.result()
                await printing
            finally:
                for task in (printing, stopping, late):
                    task.cancel()
                await asyncio.gather(printing, stopping, late, return_exceptions=True)
        return 0 if self._ready.is_set() else self._early_exit_code

    async def _print(self) -> None:
        """Print what happens until the supervisor says goodbye."""
        lines = EventLines(self._output.data, ascii_only=self._output.is_ascii(sys.stdout))
        async with connect(self._config_path) as control:
            await control.request("subscribe", events=True)
            async for frame in control.frames():
                if frame.get("type") == "event":
                    lines.event(frame["event"])
                    continue
                lines.snapshot(frame["snapshot"])
                if not self._ready.is_set() and self._is_all_ready(frame["snapshot"]):
                    self._announce(frame["snapshot"])

    def _is_all_ready(self, document: Mapping[str, Any]) -> bool:
        """Whether everything is ready that was wanted since this began.

        What is on its way out wants less and less, so that what is left of it is always ready.
        """
        services = document["services"]
        wanted = {name for name, service in services.items() if service["desired"] == "up"}
        self._wanted |= wanted
        is_leaving = bool((self._wanted & services.keys()) - wanted)
        return not (self._is_ending or is_leaving) and ready_goal(())(document).is_reached

    def _announce(self, document: Mapping[str, Any]) -> None:
        """Say once that everything is ready, and where."""
        self._ready.set()
        self._output.data("all services are ready")
        for line in address_lines(document, width=self._output.width(sys.stdout)):
            self._output.text(line)

    async def _stop_on_signals(self) -> None:
        """The first signal asks for an orderly stop, any further one for an immediate one."""
        await self._signals.get()
        self._is_ending = True
        self._early_exit_code = EXIT_INTERRUPTED
        self._output.note("stopping everything; once more stops at once")
        await self._down()
        while True:
            await self._signals.get()
            await self._down(timeout_s=0)

    async def _stop_when_late(self) -> None:
        """Stop the stack when it is not ready within the time given."""
        try:
            await asyncio.wait_for(self._ready.wait(), self._timeout_s)
        except TimeoutError:
            self._is_ending = True
            self._early_exit_code = EXIT_TIMED_OUT
            self._output.warn(f"not ready within {self._timeout_s:g} s; stopping everything")
            await self._down()

    async def _down(self, **limit: float) -> None:
        """Send the command on a connection of its own, as the other one is being read."""
        try:
            async with connect(self._config_path) as control:
                await control.request("down", **limit)
        except NotRunning:
            return  # it ended by itself meanwhile


@contextmanager
def termination_interrupts() -> Iterator[None]:
    """Let SIGTERM be what Ctrl-C is while the block runs: a KeyboardInterrupt.

    Only in the main thread, where Python runs handlers.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@asynccontextmanager
async def _signals_into(queue: asyncio.Queue[None]) -> AsyncIterator[None]:
    """Put an item on the queue for each SIGINT and SIGTERM while the block runs."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, queue.put_nowait, None)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
