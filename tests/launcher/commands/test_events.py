"""`events`: what is remembered, from when on, and what comes, each once."""

import json
import threading

from tests.launcher.commands.conftest import Run
from tests.launcher.control_double import ControlDouble


def event(revision: int, second: int, after: str = "ready") -> dict[str, object]:
    """A state change at a second of a minute."""
    at = f"2026-11-23T14:02:{second:02d}.000000Z"
    return {
        "revision": revision,
        "at": at,
        "child": "memory",
        "from": "starting",
        "to": after,
        "detail": "pid 7",
    }


def test_all_that_is_remembered(control: ControlDouble, run: Run) -> None:
    """Oldest first, one a line."""
    control.events = [event(1, 1, "starting"), event(2, 5)]
    lines = run("events").out.splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == ["◐ memory starting: pid 7", "● memory ready: pid 7"]


def test_since_leaves_out_what_was_before(control: ControlDouble, run: Run) -> None:
    """A moment in ISO 8601 or an age; the moment itself belongs to it."""
    control.events = [event(1, 1), event(2, 5), event(3, 9)]
    lines = run("events", "--json", "--since", "2026-11-23T14:02:05Z").out.splitlines()
    assert [json.loads(line)["revision"] for line in lines] == [2, 3]
    assert run("events", "--since", "0s").out == ""
    assert len(run("events", "--since", "9999d").out.splitlines()) == 3


def test_since_that_is_no_time(control: ControlDouble, run: Run) -> None:
    """A usage error with the two forms."""
    done = run("events", "--since", "yesterday")
    assert done.code == 2
    assert "neither an age such as 10m or 1h30m nor a time such as" in done.err


def test_following_tells_each_once(control: ControlDouble, run: Run) -> None:
    """What came between subscribing and the past is not told twice; new ones follow until the stack ends."""
    control.events = [event(1, 1)]

    def go_on() -> None:
        control.wait_for_command("events")
        control.emit(event(1, 1))
        control.emit(event(2, 5))
        control.drop_clients()

    teller = threading.Thread(target=go_on)
    teller.start()
    done = run("events", "--follow", "--json", "--since", "2026-11-23T14:02:05Z")
    teller.join()
    assert [json.loads(line)["revision"] for line in done.out.splitlines()] == [2]
    assert "the stack ended" in done.err
