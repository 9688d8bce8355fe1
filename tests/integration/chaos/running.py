"""One schedule from an empty folder to a verdict: the stack goes up, chaos is done to it, it goes down.

The verdict is a list of sentences, empty when every invariant held: never two copies at once, no process left
after `down`, no client refused, no line lost, doubled or torn, everything settled within its bound, the
supervisor no larger, the status always valid.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.chaos.deeds import Deeds, pause
from tests.integration.chaos.evidence import (
    doubles,
    judge_lines,
    late_restarts,
    logged_lines,
    torn_lines,
    written_lines,
)
from tests.integration.chaos.operations import Hit, Schedule, Step
from tests.integration.chaos.watchers import Client, StatusReader, Watcher
from tests.integration.chaos.world import World

__all__ = ["Bounds", "Verdict", "run_schedule"]


@dataclass(frozen=True)
class Bounds:
    """What counts as too long or too large, in seconds and bytes."""

    settle_s: float = 10.0
    settle_hang_s: float = 20.0
    gap_s: float = 3.0
    restart_s: float = 3.0
    rss_growth_bytes: int = 4_000_000


@dataclass
class Verdict:
    """What was wrong, and figures of what was not."""

    problems: list[str] = field(default_factory=list)
    settle_s: list[float] = field(default_factory=list)
    longest_gap_s: float = 0.0
    lines: int = 0
    clients: int = 0
    births: int = 0


def run_schedule(folder: Path, schedule: Schedule, bounds: Bounds) -> Verdict:
    """Run one schedule in an empty folder; whatever happens, nothing of it is left running."""
    verdict = Verdict()
    world = World(folder)
    try:
        world.up()
        _suffer(world, schedule, bounds, verdict)
        world.stack.run("down")
        left = world.stack.processes()
        verdict.problems += [f"left after down: {process}" for process in left]
    finally:
        world.stack.close()
    _judge_evidence(world, verdict)
    return verdict


def _suffer(world: World, schedule: Schedule, bounds: Bounds, verdict: Verdict) -> None:
    """Do everything in the schedule while clients and the status reader watch."""
    clients = [Client(name, lambda name=name: world.ports[name]) for name in world.ports]
    reader = StatusReader(world.config, bounds.gap_s, bounds.rss_growth_bytes)
    watchers: list[Watcher] = [*clients, reader]
    deeds = Deeds(world, watchers)
    with ExitStack() as watching:
        for watcher in watchers:
            watching.enter_context(watcher)
        for number, step in enumerate(schedule):
            _take(step, world, deeds)
            verdict.problems += _settle(number, step, world, bounds, verdict)
    verdict.problems += late_restarts(world.ask("events")["events"], bounds.restart_s)
    verdict.problems += deeds.problems
    for client in clients:
        verdict.problems += client.problems(is_up=client.service not in world.stopped)
        verdict.clients += client.tried
    verdict.problems += reader.problems()
    verdict.longest_gap_s = max(reader.gaps_s, default=0.0)


def _take(step: Step, world: World, deeds: Deeds) -> None:
    for deed in step.deeds:
        pause(step.pause_ms / 1000)
        deeds.do(deed)


def _settle(number: int, step: Step, world: World, bounds: Bounds, verdict: Verdict) -> list[str]:
    is_hang = any(isinstance(deed, Hit) and deed.kind == "freeze" for deed in step.deeds)
    bound_s = bounds.settle_hang_s if is_hang else bounds.settle_s
    began = time.monotonic()
    why = world.wait_settled(bound_s)
    verdict.settle_s.append(time.monotonic() - began)
    return [] if why is None else [f"step {number} {step} did not settle within {bound_s:g} s: {why}"]


def _judge_evidence(world: World, verdict: Verdict) -> None:
    written, logged = written_lines(world.evidence), logged_lines(world.logs)
    verdict.births, verdict.lines = len(written), sum(len(numbers) for numbers in logged.values())
    verdict.problems += doubles(world.evidence)
    verdict.problems += judge_lines(written, logged, world.cut)
    verdict.problems += torn_lines(world.logs)
