"""Asking one child again and again: when to ask, how long to wait, and which answers can be believed.

Decides the rhythm (often until the first good answer, then each `period_s`, at once when there is a reason),
and that a failure seen while this very loop was held up proves nothing about the child. Does not know
thresholds.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from launcher.probes import Answer, Failing, Loading, Probe, Well

__all__ = ["LagMeter", "NotifyFacts", "NotifyProbe", "ProbeResult", "Prober"]

_STARTING_PERIOD_S = 0.25
_TICKS_PER_TIMEOUT = 10


@dataclass(frozen=True)
class ProbeResult:
    """One believable answer and how long it took."""

    answer: Answer
    latency_s: float


@dataclass
class NotifyFacts:
    """What a generation has said of itself by sd_notify so far; times are of the loop's clock."""

    is_ready: bool = False
    watchdog_at: float | None = None
    phase: str | None = None
    progress: float | None = None


class NotifyProbe:
    """Judges by what the child says by itself: READY=1, and WATCHDOG=1 in time once it has begun with
    that.
    """

    def __init__(self, facts: NotifyFacts, watchdog_s: float) -> None:
        """Once a WATCHDOG=1 was seen, silence for `watchdog_s` is a failure."""
        self._facts = facts
        self._watchdog_s = watchdog_s

    async def check(self) -> Answer:
        """Look at the facts; nobody is asked."""
        facts = self._facts
        if not facts.is_ready:
            return Loading(facts.phase, facts.progress)
        if facts.watchdog_at is not None:
            silent_s = asyncio.get_running_loop().time() - facts.watchdog_at
            if silent_s > self._watchdog_s:
                return Failing(f"has sent no WATCHDOG=1 for {silent_s:.1f} s")
        return Well()

    async def close(self) -> None:
        """Nothing is held."""


class LagMeter:
    """Measures how late this loop runs while it is entered; `worst_s` is the longest hold-up seen."""

    def __init__(self, tick_s: float) -> None:
        """Look every `tick_s` seconds."""
        self.worst_s = 0.0
        self._tick_s = tick_s
        self._loop = asyncio.get_running_loop()
        self._due_at = 0.0
        self._handle: asyncio.TimerHandle | None = None

    def __enter__(self) -> LagMeter:
        """Start looking."""
        self._arm()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Look a last time and stop."""
        self._measure()
        if self._handle is not None:
            self._handle.cancel()

    def _arm(self) -> None:
        self._due_at = self._loop.time() + self._tick_s
        self._handle = self._loop.call_at(self._due_at, self._tick)

    def _tick(self) -> None:
        self._measure()
        self._arm()

    def _measure(self) -> None:
        self.worst_s = max(self.worst_s, self._loop.time() - self._due_at)


class Prober:
    """Asks through one probe until it is cancelled, and reports what can be believed."""

    def __init__(
        self, probe: Probe, period_s: float, timeout_s: float, report: Callable[[ProbeResult], None]
    ) -> None:
        """Ask every `period_s`, start to start (the second time up to half of it earlier or later), and wait
        at most `timeout_s` for an answer.
        """
        self._probe = probe
        self._period_s = period_s
        self._timeout_s = timeout_s
        self._report = report
        self._is_kicked = False
        self._kicked: asyncio.Future[None] | None = None
        self._was_well = False
        self.ignored = 0
        """Failures that were not believed, as this loop itself was held up."""

    def kick(self) -> None:
        """Ask now: something has happened."""
        self._is_kicked = True
        self._wake()

    async def run(self) -> None:
        """Ask until cancelled, then give back what the probe holds."""
        loop = asyncio.get_running_loop()
        due_at = loop.time()
        try:
            while True:
                self._is_kicked = False
                asked_at = loop.time()
                await self._ask_once(asked_at, max(0.0, asked_at - due_at))
                due_at = max(self._next_at(asked_at), loop.time())
                await self._pause_until(due_at)
        finally:
            await self._probe.close()

    async def _ask_once(self, asked_at: float, late_s: float) -> None:
        with LagMeter(self._timeout_s / _TICKS_PER_TIMEOUT) as lag:
            try:
                async with asyncio.timeout(self._timeout_s):
                    answer = await self._probe.check()
            except TimeoutError:
                answer = Failing(f"did not answer within {self._timeout_s:g} s")
        if isinstance(answer, Loading) and self._was_well:
            answer = Failing(f"was ready and says that it is in phase {answer.phase or 'loading'}")
        # A hold-up before the question counts too: what the child tells by itself could not be heard.
        if isinstance(answer, Failing) and max(lag.worst_s, late_s) > self._timeout_s / 4:
            self.ignored += 1
            return
        self._was_well = self._was_well or isinstance(answer, Well)
        self._report(ProbeResult(answer, asyncio.get_running_loop().time() - asked_at))

    def _next_at(self, asked_at: float) -> float:
        """A period later; once all is well, when others of that period are asked too.

        A supervisor that has nothing to do is then woken once for all of them.
        """
        if not self._was_well:
            return asked_at + min(self._period_s, _STARTING_PERIOD_S)
        return math.floor(asked_at / self._period_s + 1.5) * self._period_s

    async def _pause_until(self, due_at: float) -> None:
        loop = asyncio.get_running_loop()
        if self._is_kicked or due_at <= loop.time():
            await asyncio.sleep(0)
            return
        self._kicked = loop.create_future()
        timer = loop.call_at(due_at, self._wake)
        try:
            await self._kicked
        finally:
            timer.cancel()
            self._kicked = None

    def _wake(self) -> None:
        if self._kicked is not None and not self._kicked.done():
            self._kicked.set_result(None)
