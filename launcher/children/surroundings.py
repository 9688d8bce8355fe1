"""What a child's runtime is given by the supervisor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.children.diagnosing import Diagnostician
from launcher.children.gpu_watch import GpuWatch
from launcher.children.oom import OomCounter
from launcher.children.parent import Parent
from launcher.lifecycle_values import Event

if TYPE_CHECKING:
    from launcher.children.runtime import ChildRuntime

__all__ = ["Surroundings"]


@dataclass(frozen=True)
class Surroundings:
    """What a child's runtime needs of the supervisor."""

    parent: Parent
    tasks: asyncio.TaskGroup
    logs: Path
    post: Callable[[str, Event], None]
    changed: Callable[[], None]
    journal: Callable[[], None]
    """Have it written down soon."""
    remember: Callable[[], None]
    """Write it down before anything else is done."""
    peers: Callable[[], Mapping[str, str]]
    rank: Callable[[str], int]
    oom: OomCounter
    diagnostician: Diagnostician
    gpus: GpuWatch
    siblings: Callable[[str], Collection[ChildRuntime]] = lambda service: ()
    """The children of a service that are to stay, for those that share what they listen on."""
