"""What one child lets be known of itself: answers to probes and sd_notify datagrams, as facts and as events.

Decides what counts as progress (a phase, a number or a status that changed, or an asked extension) and keeps
the last believable answer. Does not know states or thresholds: every answer becomes an event, the lifecycle
judges.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from launcher.children.patience import Starvation
from launcher.children.probing import NotifyFacts, Prober, ProbeResult
from launcher.exposition import Histogram
from launcher.lifecycle_values import Event, ProbeFailed, ProbeSucceeded, Progressed
from launcher.notify import Notification
from launcher.probes import Failing, Loading, Probe, Well

__all__ = ["Health", "Senses", "Told"]

_LATENCY_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


@dataclass
class Health:
    """The last believable answer; `at` is of the loop's clock."""

    ok: bool | None = None
    at: float | None = None
    latency_s: float | None = None
    stats: Mapping[str, Any] | None = None
    detail: str | None = None


@dataclass
class Told:
    """What the running generation has said of itself; `progress` is 0 to 1."""

    phase: str | None = None
    progress: float | None = None
    detail: str | None = None
    device: str | None = None


class Senses:
    """The facts about the running generation of one child, and the task that asks for them."""

    def __init__(
        self,
        post: Callable[[Event], None],
        changed: Callable[[], None],
        on_device: Callable[[str], None],
        starved_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Post events and tell of changed facts; nothing is asked before `start_probe`.

        `on_device` hears where the child says that it computes, each time it says so. `starved_s` tells how
        long it has ever waited for a processor.
        """
        self.told = Told()
        self.health = Health()
        self.facts = NotifyFacts()
        self.probe_latency = Histogram(_LATENCY_BOUNDS_S)
        """How long the answers of all generations took."""
        self._post = post
        self._changed = changed
        self._on_device = on_device
        self._starvation = Starvation(starved_s)
        self._generation = 0
        self._prober: Prober | None = None
        self._task: asyncio.Task[None] | None = None

    def begin(self, generation: int) -> None:
        """Forget the generation before."""
        self._generation = generation
        self.told, self.health, self.facts = Told(), Health(), NotifyFacts()
        self._starvation.ended()

    def start_probe(
        self, probe: Probe, period_s: float, timeout_s: float, tasks: asyncio.TaskGroup, name: str
    ) -> None:
        """Ask until `stop_probe`."""
        self._prober = Prober(probe, period_s, timeout_s, self._probed)
        self._task = tasks.create_task(self._prober.run(), name=f"probe {name}")

    def stop_probe(self) -> None:
        """Ask no more; idempotent."""
        if self._task is not None:
            self._task.cancel()
        self._prober = self._task = None

    def notified(self, said: Notification) -> None:
        """Take a datagram of the running generation."""
        facts = self.facts
        facts.is_ready = facts.is_ready or said.is_ready
        if said.is_watchdog:
            facts.watchdog_at = asyncio.get_running_loop().time()
        self._tell_device(said.device)
        has_news = said.status is not None and said.status != self.told.detail
        self.told.detail = said.status or self.told.detail
        self._move(said.phase, said.progress, said.extend_s or 0.0, has_news=has_news)
        facts.phase, facts.progress = self.told.phase, self.told.progress
        if self._prober is not None and (said.is_ready or said.phase is not None):
            self._prober.kick()
        self._changed()

    def _probed(self, result: ProbeResult) -> None:
        health = self.health
        self.probe_latency.observe(result.latency_s)
        health.at, health.latency_s = asyncio.get_running_loop().time(), result.latency_s
        match result.answer:
            case Well(stats):
                self._starvation.ended()
                health.ok, health.detail, health.stats = True, None, stats
                self._tell_device((stats or {}).get("device"))
                self._post(ProbeSucceeded(self._generation))
            case Loading(phase, progress, detail):
                health.ok, health.detail = None, detail
                self._move(phase, progress, 0.0)
            case Failing(text):
                health.ok, health.detail = False, text
                if self._starvation.excuses(health.at):
                    health.detail = f"{text}; it does not count, as the child had no processor to run on"
                else:
                    self._post(ProbeFailed(self._generation, text))
        self._changed()

    def _tell_device(self, device: object) -> None:
        if isinstance(device, str) and device:
            self.told.device = device
            self._on_device(device)

    def _move(
        self, phase: str | None, progress: float | None, extend_s: float, *, has_news: bool = False
    ) -> None:
        told = self.told
        has_new_phase = phase is not None and phase != told.phase
        has_moved = has_new_phase or (progress is not None and progress != told.progress)
        if has_new_phase:
            told.phase, told.progress = phase, progress
        elif progress is not None:
            told.progress = progress
        if has_moved or has_news or extend_s:
            self._post(Progressed(self._generation, extend_s))
