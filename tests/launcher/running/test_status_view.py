"""launcher.running.status_view: what is shown of a child in each state, and of GPUs that come and go."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from launcher.children.exits import LastExit
from launcher.children.usage import Usage
from launcher.gpus import GpuReport
from launcher.placement import Assignment, GpuFacts, GpuHolder
from launcher.processes import ExitStatus
from launcher.restart_policy import Outcome
from launcher.running.status_view import view_child, view_gpus, view_service
from tests.launcher.running.bench import Bench

GIB = 1024**3


def gpu(uuid: str, **changes: Any) -> GpuFacts:
    """A card of 80 GiB."""
    return replace(GpuFacts(uuid, 0, "H200", 80 * GIB, 60 * GIB), **changes)


async def test_a_child_that_was_never_started(bench: Bench) -> None:
    """Everything that is not known is None, and the whole is JSON."""
    child = bench.supervisor().add("a")
    shown = view_child(child, [], 100.0)
    assert (shown["state"], shown["generation"], shown["pid"], shown["uptime_s"]) == (
        "stopped",
        0,
        None,
        None,
    )
    assert (shown["phase"], shown["last_exit"], shown["next_retry_s"], shown["reason"]) == (None,) * 4
    assert shown["health"]["ok"] is None
    assert shown["log"] == str(bench.folder / "a.log")
    assert json.loads(json.dumps(shown)) == shown


async def test_a_child_that_starts_tells_how_far_it_is(bench: Bench) -> None:
    """Its own phase once it has told of one; before that it is being spawned."""
    child = bench.supervisor().add("a", state="starting", generation=1, pid=7)
    assert view_child(child, [], 0.0)["phase"] == "spawn"
    child.senses.told.phase, child.senses.told.progress, child.senses.told.detail = "loading", 0.25, "3 of 12"
    shown = view_child(child, [], 0.0)
    assert (shown["phase"], shown["progress"], shown["detail"]) == ("loading", 0.25, "3 of 12")
    child.life = replace(child.life, state="ready")
    shown = view_child(child, [], 0.0)
    assert (shown["phase"], shown["progress"], shown["detail"]) == (None, None, "3 of 12")


async def test_ages_are_counted_to_now(bench: Bench) -> None:
    """Uptime, the age of an answer, and what is left of a pause, never below zero."""
    child = bench.supervisor().add("a", state="backoff", due_at=100.5, failures=2, reason="exit code 1")
    child.spawned_at, child.senses.health.at, child.senses.health.latency_s = 40.0, 90.0, 0.0125
    shown = view_child(child, [], 100.0)
    assert (shown["uptime_s"], shown["next_retry_s"], shown["reason"]) == (60.0, 0.5, "exit code 1")
    assert (shown["health"]["age_s"], shown["health"]["latency_ms"]) == (10.0, 12.5)
    assert view_child(child, [], 200.0)["next_retry_s"] == 0.0


async def test_a_child_that_waits_says_for_whom(bench: Bench) -> None:
    """In place of an older reason."""
    child = bench.supervisor().add("c", "c", state="waiting", reason="an older one")
    assert view_child(child, ["a", "b"], 0.0)["reason"] == "waits for a, b"
    assert view_child(child, [], 0.0)["reason"] == "an older one"


async def test_how_the_last_generation_ended(bench: Bench) -> None:
    """Code or signal, why, when, after how long, and its last words."""
    child = bench.supervisor().add("a")
    at, diagnosis = "2026-11-23T00:00:00Z", "logs/diagnosis/x"
    child.exits.total = 3
    child.exits.last = LastExit(Outcome("oom"), ExitStatus(None, 9), at, 1.23456, ["bye"], diagnosis)
    shown = view_child(child, [], 0.0)
    assert shown["exits_total"] == 3
    assert shown["last_exit"] == {
        "code": None,
        "signal": 9,
        "reason": "oom",
        "at": at,
        "after_s": 1.235,
        "stderr_tail": ["bye"],
        "diagnosis": diagnosis,
    }


async def test_a_service_sums_up_its_children(bench: Bench) -> None:
    """Loud notes are shown once, and those that leave are still shown."""
    stack = bench.supervisor()
    for name in ("b.0", "b.1"):
        child = stack.add(name, "b", state="ready", desired_up=True, pid=7)
        child.prepared = replace(child.prepared, gpu=Assignment((), "cpu", "", "on the CPU, which is slow"))
    stack.stack.forget(["b.1"])
    shown = view_service(bench.services["b"], stack.stack, 0.0)
    assert [child["name"] for child in shown["children"]] == ["b.0", "b.1"]
    assert shown["notes"] == ["on the CPU, which is slow"]
    assert shown["desired"] == "up"
    assert shown["settings"] == bench.services["b"].settings


async def test_gpus_with_whom_they_are_given_to_and_who_is_there(bench: Bench) -> None:
    """A process of ours is named by its child, a stranger is not, and a card that has gone says why."""
    post = bench.supervisor()
    child = post.add("a", state="ready", pid=7)
    child.prepared = replace(child.prepared, gpu=Assignment(("GPU-0", "GPU-9"), "cuda", "GPU-0,GPU-9"))
    child.usage = Usage(pids=frozenset({7, 8}), cpu_percent=1.0, rss_bytes=2)
    holders = (GpuHolder(8, 5 * GIB), GpuHolder(99, GIB))
    report = GpuReport((gpu("GPU-0", holders=holders), gpu("GPU-1", index=1)), problem="GPU 9 is lost")
    zero, one, nine = view_gpus(report, [child])
    assert (zero["children"], one["children"]) == (["a"], [])
    assert [(holder["pid"], holder["child"]) for holder in zero["holders"]] == [(8, "a"), (99, None)]
    assert (nine["uuid"], nine["free_bytes"], nine["problem"]) == ("GPU-9", None, "GPU 9 is lost")
    assert view_gpus(GpuReport(()), []) == []
    assert [one["problem"] for one in view_gpus(None, [child])] == ["the driver lists it no more"] * 2
