"""Row: what is left, and what is back by itself, after `kill -9` of supervising processes."""

from __future__ import annotations

import os
import select
import signal
from typing import Any

from benchmarks.supervision.figures import wait_until
from benchmarks.supervision.ours import Ours
from benchmarks.supervision.systems import NotOffered, Service, System, free_port, python_child

__all__ = ["VICTIMS", "measure"]

VICTIMS = ("supervisor", "guardian", "both", "all")
"""both: guardian and supervisor in one instant, or every process of the others; all: our sentinel too."""

LOOKS_AFTER_S = 1.0
BACK_WITHIN_S = 10.0


def measure(system: System, victim: str) -> dict[str, Any]:
    """Two plain services, and one that forks and leaves a daemon: five processes. Whoever is alive a second
    later without a living supervisor is an orphan.
    """
    if victim in ("guardian", "all") and not isinstance(system, Ours):
        raise NotOffered("has none" if victim == "guardian" else "see both")
    words = [("serve", "fd:listen"), ("serve", "fd:listen"), ("serve", "fd:listen", "--family")]
    ports = [free_port() for _ in words]
    services = [
        Service(
            f"s{number}", python_child(*(str(ports[number]) if w == "fd:listen" else w for w in each)), None
        )
        for number, each in enumerate(words)
    ]
    system.start(services)
    assert wait_until(lambda: len(system.children()) == 5, 10), "the services did not start"
    select.select([], [], [], 1.5)
    before = {process.pid for process in system.children()}
    owners = system.owners()
    killed = _victims(owners, victim)
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    select.select([], [], [], LOOKS_AFTER_S)
    alive = {process.pid for process in system.children()}
    back_s = wait_until(lambda: _is_whole(system), BACK_WITHIN_S) if victim not in ("both", "all") else None
    is_supervised = back_s is not None
    orphans = alive & before
    if is_supervised and victim == "supervisor":
        orphans = set()
    return {
        "killed": len(killed),
        "children_before": len(before),
        "alive_after_1_s": len(alive & before),
        "supervised_again": is_supervised,
        "orphans": len(orphans),
    }


def _victims(owners: dict[str, int], victim: str) -> list[int]:
    if victim in ("both", "all"):
        return [pid for role, pid in owners.items() if victim == "all" or role != "sentinel"]
    return [owners.get(victim, next(iter(owners.values())))]


def _is_whole(system: System) -> bool:
    """Whether a supervisor answers and every service of it is ready; the others never come back alone."""
    if not isinstance(system, Ours):
        return False
    document = system.status_or_none()
    return document is not None and all(
        service["state"] == "ready" for service in document["services"].values()
    )
