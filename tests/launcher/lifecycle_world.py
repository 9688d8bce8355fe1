"""A world for launcher.lifecycle: every configuration that a child which was never started can reach.

Modelled by five facts (is a spawn in flight, which generation's leader lives, does its group live, is it
probed, is it looked at), so that only what can happen is fed to `step`, in every order in which it can
happen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

from launcher.lifecycle import step
from launcher.lifecycle_values import (
    CancelTimer,
    Child,
    DependenciesMet,
    DeviceMismatched,
    Diagnose,
    Diagnosed,
    Effect,
    Event,
    Exited,
    GroupEmptied,
    Kill,
    LimitExceeded,
    ProbeFailed,
    ProbeSucceeded,
    Progressed,
    RestartRequested,
    Rules,
    SetTimer,
    Spawn,
    Spawned,
    SpawnFailed,
    StartProbe,
    StartRequested,
    StopProbe,
    StopRequested,
    Terminate,
    TimerFired,
)
from launcher.restart_policy import Outcome, RestartRules

Policy = Literal["always", "on-failure", "never"]
POLICIES: tuple[Policy, ...] = ("always", "on-failure", "never")
OUTCOMES = (Outcome("exited", 0), Outcome("exited", 1), Outcome("exited", 78), Outcome("killed"))


@dataclass(frozen=True)
class World:
    """What exists outside the machine; the machine never sees it directly."""

    is_spawning: bool = False
    leader_alive: bool = False
    group_alive: bool = False
    is_probing: bool = False
    is_diagnosing: bool = False

    @property
    def holds_processes(self) -> bool:
        """Something lives, or is about to."""
        return self.is_spawning or self.leader_alive or self.group_alive


@dataclass(frozen=True)
class Configuration:
    """A child and the world around it."""

    child: Child
    world: World


def key(configuration: Configuration) -> Configuration:
    """The configuration without what only counts up or tells the time."""
    child = replace(
        configuration.child, generation=0, due_at=None, since=0.0, restarts=0, reason=None, pid=None
    )
    return Configuration(child, configuration.world)


def possible(configuration: Configuration) -> Iterator[tuple[Event, World]]:
    """Every event that can reach the machine now, with the world after it."""
    child, world = configuration.child, configuration.world
    now = child.generation
    for event in (StartRequested(), StopRequested(), RestartRequested(), DependenciesMet()):
        yield event, world
    if world.is_spawning:
        alive = replace(world, is_spawning=False, leader_alive=True, group_alive=True)
        yield Spawned(now, 1000 + now), alive
        yield SpawnFailed(now, "no such file"), replace(world, is_spawning=False)
    if world.is_probing:
        for event in (ProbeSucceeded(now), ProbeFailed(now, "silent")):
            yield event, world
    if world.is_diagnosing:
        yield Diagnosed(now), replace(world, is_diagnosing=False)
    if world.leader_alive:
        for event in (
            Progressed(now, 5.0),
            LimitExceeded(now, "too big"),
            DeviceMismatched(now, "on the CPU"),
        ):
            yield event, world
    yield from ends(now, world)
    if child.timer is not None:
        yield TimerFired(child.timer, now), world


def ends(now: int, world: World) -> Iterator[tuple[Event, World]]:
    """How what lives in the world can end."""
    if world.leader_alive:
        for outcome in OUTCOMES:
            for empty in (True, False):
                after = replace(world, leader_alive=False, group_alive=not empty)
                yield Exited(now, outcome, "ended", empty), after
    elif world.group_alive:
        yield GroupEmptied(now), replace(world, group_alive=False)


def perform(world: World, effects: tuple[Effect, ...]) -> World:
    """The world after the effects, asserting that each may be performed in it."""
    for effect in effects:
        match effect:
            case Spawn():
                assert not world.holds_processes, "two live copies"
                # What looked at the generation before may still be writing; its answer will be stale.
                world = replace(world, is_spawning=True, is_diagnosing=False)
            case Diagnose():
                assert world.leader_alive, "a look at nothing"
                world = replace(world, is_diagnosing=True)
            case Terminate() | Kill():
                assert world.group_alive, "a signal to a dead group"
            case StartProbe():
                assert world.leader_alive, "a probe of nothing"
                assert not world.is_probing, "two probes"
                world = replace(world, is_probing=True)
            case StopProbe():
                world = replace(world, is_probing=False)
            case _:
                pass
    return world


def advance(configuration: Configuration, event: Event, world: World) -> Configuration:
    """Feed one event and perform what the machine asks for."""
    child = configuration.child
    now = child.due_at if child.due_at is not None else 0.0
    after, effects = step(child, event, now, 0.5)
    check_timer(child, after, effects)
    return Configuration(after, perform(world, effects))


def check_timer(before: Child, after: Child, effects: tuple[Effect, ...]) -> None:
    """The timer that the child remembers is the one that the effects leave running."""
    running = before.timer if before.timer is not None else None
    for effect in effects:
        if isinstance(effect, SetTimer):
            running = effect.kind
        elif isinstance(effect, CancelTimer):
            running = None
    if not effects or not any(isinstance(effect, SetTimer | CancelTimer) for effect in effects):
        running = after.timer
        assert after.timer in (before.timer, None)
    assert after.timer == running
    assert (after.timer is None) == (after.due_at is None)


TIMERS = {
    "stopped": {None},
    "failed": {None},
    "waiting": {None},
    "unhealthy": {None},
    "starting": {"startup", "settle"},
    "ready": {"stable", None},
    "stopping": {"grace", "diagnosis"},
    "backoff": {"backoff"},
}


def check(configuration: Configuration) -> None:
    """The invariants of every reachable configuration."""
    child, world = configuration.child, configuration.world
    assert child.timer in TIMERS[child.state], (child.state, child.timer)
    assert child.spawning == world.is_spawning
    if child.state in ("stopped", "failed", "backoff", "waiting"):
        assert not world.holds_processes, "at rest, and something lives"
        assert not world.is_probing
        assert child.pid is None
    if child.state in ("ready", "unhealthy"):
        assert world.leader_alive
        assert world.is_probing == child.rules.is_probed
    assert child.timer != "settle" or (world.leader_alive and not child.rules.is_probed)
    if child.state == "stopping":
        assert not world.is_probing
    assert child.state != "backoff" or child.rules.restart.policy != "never"
    assert child.failures <= child.rules.restart.max_failures
    assert child.probe_failures <= child.rules.failures


def walk(rules: Rules) -> dict[Configuration, Configuration]:
    """Every configuration reachable from a child that was never started, each checked once."""
    start = Configuration(Child(rules), World())
    found = {key(start): start}
    queue = [start]
    while queue:
        configuration = queue.pop()
        for event, world in possible(configuration):
            after = advance(configuration, event, world)
            if key(after) not in found:
                check(after)
                found[key(after)] = after
                queue.append(after)
    return found


def rules_of(policy: Policy, is_probed: bool, has_dependencies: bool, is_endless: bool = False) -> Rules:
    """Small limits, so that every counter is walked to its end."""
    restart = RestartRules(policy=policy, max_failures=3, is_endless=is_endless)
    return Rules(restart, failures=2, is_probed=is_probed, has_dependencies=has_dependencies)


VARIANTS = [
    *(rules_of(*variant) for variant in product(POLICIES, (True, False), (True, False))),
    *(rules_of(policy, True, False, True) for policy in POLICIES),
]


def name(rules: Rules) -> str:
    """A readable test id."""
    probe = "probed" if rules.is_probed else "unprobed"
    end = "-endless" if rules.restart.is_endless else ""
    return f"{rules.restart.policy}-{probe}-{'waits' if rules.has_dependencies else 'free'}{end}"
