"""launcher.running.listing: a service of the file that nobody has started, as the status shows it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from launcher.reconcile import settings_of
from launcher.records import from_json, to_json
from launcher.running.listing import list_service, view_listed
from launcher.running.status_view import view_child, view_service
from tests.launcher.config_files import load
from tests.launcher.running.bench import Bench


def listed(tmp_path: Path, keys: str) -> dict[str, object]:
    """What is remembered of service `m` with these keys, once it has been written down and read again."""
    text = f"services:\n  m: {{{keys}}}\n  a: {{command: [x]}}\n"
    service = load(tmp_path, text).services["m"]
    record = from_json(to_json(service, settings=settings_of(service)))
    again: dict[str, object] = json.loads(json.dumps(list_service(record)))
    return again


def test_it_is_stopped_and_nothing_is_made_up(tmp_path: Path) -> None:
    """What is unknown is null; each replica has its name and its log."""
    facts = listed(tmp_path, "server: inference, replicas: 2, depends_on: {a: ready}, options: {token: t}")
    shown = view_listed(facts, Path("/stack/logs"))
    assert (shown["desired"], shown["state"], shown["port"], shown["url"]) == ("down", "stopped", None, None)
    assert (shown["server"], shown["depends_on"], shown["has_token"]) == ("inference", {"a": "ready"}, True)
    first, second = shown["children"]
    assert (first["name"], second["log"]) == ("m.0", "/stack/logs/m.1.log")
    assert (first["state"], first["generation"], first["restarts"]) == ("stopped", 0, 0)
    unknown = ("pid", "uptime_s", "rss_bytes", "cpu_percent", "gpu", "last_exit", "next_retry_s")
    assert [key for key in unknown if first[key] is not None] == []


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ("command: [x]", "has not been started"),
        ("command: [x], enabled: false", "is not enabled in the file"),
    ],
)
def test_it_says_why(tmp_path: Path, keys: str, reason: str) -> None:
    """Nobody asked for it, or the file says that nobody does."""
    (child,) = view_listed(listed(tmp_path, keys), tmp_path)["children"]
    assert reason in str(child["reason"])


async def test_it_has_every_key_of_one_that_runs(bench: Bench, tmp_path: Path) -> None:
    """A program that reads the status finds the same fields everywhere."""
    post = bench.supervisor()
    child = post.add("a", state="ready", desired_up=True, pid=7)
    shown = view_listed(listed(tmp_path, "command: [x]"), tmp_path)
    running = view_service(bench.services["a"], post.stack, 0.0)
    assert shown.keys() == running.keys()
    (resting,) = shown["children"]
    assert resting.keys() == view_child(child, (), 0.0).keys()
    assert resting["health"].keys() == running["children"][0]["health"].keys()
