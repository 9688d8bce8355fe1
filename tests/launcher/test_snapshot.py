"""launcher.snapshot: the shape of the status document."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest

from launcher.snapshot import STATES, ChildDocument, State, shape_service, shape_status, worst_state


def child(state: State) -> ChildDocument:
    """A child about which nothing is known but its state."""
    return {
        "name": "a",
        "port": None,
        "url": None,
        "pid": None,
        "generation": 0,
        "state": state,
        "phase": None,
        "progress": None,
        "detail": None,
        "uptime_s": None,
        "restarts": 0,
        "consecutive_failures": 0,
        "exits_total": 0,
        "last_exit": None,
        "next_retry_s": None,
        "reason": None,
        "gpu": None,
        "cpu_percent": None,
        "rss_bytes": None,
        "vram_bytes": None,
        "health": {
            "probe": None,
            "address": None,
            "ok": None,
            "age_s": None,
            "latency_ms": None,
            "failures": 0,
            "stats": None,
            "detail": None,
        },
        "log": "logs/a.log",
        "log_lines_dropped": 0,
    }


def test_every_state_is_ranked() -> None:
    """Each state of the contract has exactly one rank."""
    assert sorted(STATES) == sorted(get_args(State))


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(STATES, 2)))
def test_service_shows_its_worst_child(first: State, second: State) -> None:
    """Of two children the worse one names the service, in either order."""
    assert worst_state([first, second]) == worst_state([second, first]) == first


def test_service_without_children_is_stopped() -> None:
    """No child, nothing runs."""
    assert worst_state([]) == "stopped"


def test_document_has_the_contract_keys() -> None:
    """The keys that scripts rely on are there, and unknown stays null."""
    service = shape_service(
        desired_up=True,
        children=[child("ready")],
        port=5005,
        url="ws://localhost:5005",
        fallback_port=False,
        server="inference",
        depends_on={},
        notes=[],
        settings={"port": "0123"},
        has_token=False,
    )
    document = shape_status(
        project="lucid",
        config="config.yaml",
        revision=42,
        at="2026-01-01T00:00:00Z",
        supervisor={"pid": 1, "guardian_pid": None, "uptime_s": 1.0, "version": "0", "rss_bytes": None},
        services={"inference": service},
    )
    assert document["schema"] == "lucid.status/1"
    shown = document["services"]["inference"]
    assert (shown["desired"], shown["state"], shown["port"]) == ("up", "ready", 5005)
    assert shown["children"][0]["rss_bytes"] is None
    assert document["supervisor"]["guardian_pid"] is None
