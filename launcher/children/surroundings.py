"""What a child's runtime is given by the supervisor, and what it keeps of a generation that has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.children.diagnosing import Diagnostician
from launcher.children.gpu_watch import GpuWatch
from launcher.children.oom import OomCounter
from launcher.children.parent import Parent
from launcher.lifecycle_values import Event
from launcher.processes import ExitStatus
from launcher.restart_policy import Outcome

__all__ = ["LastExit", "Surroundings"]


@dataclass(frozen=True)
class Surroundings:
    """What a child's runtime needs of the supervisor."""

    parent: Parent
    tasks: asyncio.TaskGroup
    logs: Path
    post: Callable[[str, Event], None]
    changed: Callable[[], None]
    journal: Callable[[], None]
    peers: Callable[[], Mapping[str, str]]
    rank: Callable[[str], int]
    oom: OomCounter
    diagnostician: Diagnostician
    gpus: GpuWatch


@dataclass
class LastExit:
    """How the last generation ended; the tail may still grow by lines that were in the pipe."""

    outcome: Outcome
    status: ExitStatus
    at: str
    after_s: float | None
    stderr_tail: Sequence[str]
    diagnosis: str | None
