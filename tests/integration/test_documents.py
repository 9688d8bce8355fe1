"""What a real supervisor says of itself is as the shipped schemas say, key by key."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.supervised_stack import SupervisedStack, hostile
from tests.strict_schema import problems


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SupervisedStack]:
    """A stack in a folder of its own, ended after the test."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    stack = SupervisedStack(tmp_path)
    yield stack
    stack.close()


def test_status_and_events_of_a_stack_in_several_states(stack: SupervisedStack) -> None:
    """Ready, failed and never started: each child's document and each event has the keys that are
    described.
    """
    once = "restart: {policy: on-failure, max_failures: 1}"
    stack.write(
        f"  well: {{command: {hostile()}}}\n  broken: {{command: ['false'], {once}}}\n"
        "  off: {command: [sleep, '9'], enabled: false}\n"
    )
    stack.start()
    stack.wait_state("well", "ready")
    stack.wait_state("broken", "failed")
    assert problems("lucid.status", stack.ask("snapshot")["snapshot"]) == []
    events = stack.ask("events")["events"]
    assert {event["to"] for event in events} >= {"ready", "failed"}
    assert [problem for event in events for problem in problems("lucid.event", event)] == []
