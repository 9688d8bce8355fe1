"""The values of the lifecycle: the child, the events that reach it and the effects that it asks for.

Events are past tense and come from the world; all but the requests carry the generation they speak of.
Effects are imperative and are performed by the supervisor. Pure data; the rules are in `lifecycle`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from launcher.restart_policy import ExitReason, Outcome, RestartRules
from launcher.snapshot import State

__all__ = [
    "CancelTimer",
    "Child",
    "DependenciesMet",
    "DeviceMismatched",
    "Diagnose",
    "Diagnosed",
    "Effect",
    "Event",
    "Exited",
    "GroupEmptied",
    "Kill",
    "LimitExceeded",
    "ProbeFailed",
    "ProbeSucceeded",
    "Progressed",
    "RestartRequested",
    "Rules",
    "RulesChanged",
    "SetTimer",
    "Spawn",
    "SpawnFailed",
    "Spawned",
    "StartProbe",
    "StartRequested",
    "StopProbe",
    "StopRequested",
    "Terminate",
    "TimerFired",
    "TimerKind",
]

TimerKind = Literal["startup", "settle", "stable", "diagnosis", "grace", "backoff"]


@dataclass(frozen=True)
class Rules:
    """What the configuration says about one child's life; durations in seconds."""

    restart: RestartRules = field(default_factory=RestartRules)
    startup_budget_s: float = 120.0
    grace_s: float = 10.0
    failures: int = 3
    """Consecutive probe failures at which a ready child is ended as unhealthy."""
    is_probed: bool = True
    min_uptime_s: float = 1.0
    """Without a probe a child is ready once it has lived for so long: one that exits at once never was."""
    has_dependencies: bool = False


@dataclass(frozen=True)
class Child:
    """One child as the supervisor knows it; times are seconds of one monotonic clock."""

    rules: Rules
    state: State = "stopped"
    desired_up: bool = False
    generation: int = 0
    pid: int | None = None
    """The leader of the process group while any process of this generation may live."""
    leader_exited: bool = False
    killed: bool = False
    """`Kill` was asked for, so nothing extends the grace period any more."""
    spawning: bool = False
    """A `Spawn` is in flight, so there is nothing to signal yet."""
    timer: TimerKind | None = None
    due_at: float | None = None
    failures: int = 0
    """Consecutive failed generations, cleared by `stable` and by every user request."""
    probe_failures: int = 0
    charge: Outcome | None = None
    """Why the generation that is ending has failed; None while it ends by request."""
    restarts: int = 0
    """Starts made by the restart policy, ever."""
    reason: str | None = None
    since: float = 0.0


# --- events -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StartRequested:
    """The user, or a reconcile, wants it up."""


@dataclass(frozen=True)
class StopRequested:
    """The user, or a reconcile, wants it down."""


@dataclass(frozen=True)
class RestartRequested:
    """The user, or a reconcile, wants a new generation."""


@dataclass(frozen=True)
class RulesChanged:
    """The configuration changed in a way that needs no new generation."""

    rules: Rules


@dataclass(frozen=True)
class DependenciesMet:
    """Everything it waits for is there."""


@dataclass(frozen=True)
class Spawned:
    """The program runs as `pid`, leader of its own session and group."""

    generation: int
    pid: int


@dataclass(frozen=True)
class SpawnFailed:
    """No process came to be; `text` says why."""

    generation: int
    text: str


@dataclass(frozen=True)
class ProbeSucceeded:
    """The child answered that it is ready and well."""

    generation: int


@dataclass(frozen=True)
class ProbeFailed:
    """The child did not answer, or not well; `text` says how."""

    generation: int
    text: str


@dataclass(frozen=True)
class Progressed:
    """A child showed progress, or asked for `extend_s` more seconds to start or to stop."""

    generation: int
    extend_s: float = 0.0


@dataclass(frozen=True)
class LimitExceeded:
    """The child's process tree is over one of its limits; `text` says by how much, `reason` which."""

    generation: int
    text: str
    reason: ExitReason = "memory_limit"


@dataclass(frozen=True)
class DeviceMismatched:
    """The child was given a GPU and computes elsewhere; `text` says what was asked and what came."""

    generation: int
    text: str


@dataclass(frozen=True)
class Diagnosed:
    """What `Diagnose` asked for is written down, or could not be."""

    generation: int


@dataclass(frozen=True)
class Exited:
    """The leader ended with `outcome`; `group_empty` when nothing else of this generation lives."""

    generation: int
    outcome: Outcome
    text: str
    group_empty: bool


@dataclass(frozen=True)
class GroupEmptied:
    """The last process of this generation is gone."""

    generation: int


@dataclass(frozen=True)
class TimerFired:
    """A timer that `SetTimer` asked for has run down."""

    kind: TimerKind
    generation: int


Event = (
    StartRequested
    | StopRequested
    | RestartRequested
    | RulesChanged
    | DependenciesMet
    | Spawned
    | SpawnFailed
    | ProbeSucceeded
    | ProbeFailed
    | Progressed
    | LimitExceeded
    | DeviceMismatched
    | Diagnosed
    | Exited
    | GroupEmptied
    | TimerFired
)


# --- effects ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spawn:
    """Start the program; answer with `Spawned` or `SpawnFailed` of this generation, always one of them."""

    generation: int


@dataclass(frozen=True)
class StartProbe:
    """Probe this generation until `StopProbe`."""

    generation: int


@dataclass(frozen=True)
class StopProbe:
    """Probe no more."""


@dataclass(frozen=True)
class Diagnose:
    """Write down what the child is doing, and answer with `Diagnosed`; `why` heads the bundle."""

    why: str


@dataclass(frozen=True)
class Terminate:
    """Send the configured stop signal to the whole group."""


@dataclass(frozen=True)
class Kill:
    """Send SIGKILL to the group and to whatever left it."""


@dataclass(frozen=True)
class SetTimer:
    """Fire `kind` after `delay_s`; it replaces the timer before it."""

    kind: TimerKind
    delay_s: float


@dataclass(frozen=True)
class CancelTimer:
    """No timer any more."""


Effect = Spawn | StartProbe | StopProbe | Diagnose | Terminate | Kill | SetTimer | CancelTimer
