"""`up`: starting, reconciling, waiting, the plain mode with real signals; the supervisor is a double."""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher.commands import bring_up
from launcher.errors import AlreadyOwned, PortInUse
from tests.launcher.commands.conftest import Run
from tests.launcher.control_double import (
    ControlDouble,
    all_ready,
    child,
    crash_looping,
    service,
    status,
    two_services,
)

REPORT = {
    "ok": True,
    "pid": 1,
    "notes": ["ended what a supervisor that was killed (pid 99) left behind: memory"],
    "plan": [
        {"service": "memory", "child": "memory", "port": 5000, "url": "ws://localhost:5000", "device": "cpu"},
        {"service": "inference", "child": "inference", "port": 5006, "fallback_port": True},
    ],
}


class Starting:
    """Brings a double to life where `up` would start a supervisor; `prepare` may script it first."""

    def __init__(self, bring_to_life: Callable[[], ControlDouble]) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.prepare: Callable[[ControlDouble], None] = lambda control: None
        self._bring_to_life = bring_to_life

    def __call__(self, *arguments: Any) -> dict[str, Any]:
        """Stand in for `start_supervisor`."""
        self.calls.append(arguments)
        self.prepare(self._bring_to_life())
        return REPORT


@pytest.fixture
def starting(project: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Starting:
    """No supervisor yet; starting one gives a double."""
    made = Starting(lambda: request.getfixturevalue("control"))
    monkeypatch.setattr(bring_up, "start_supervisor", made)
    return made


def end_on_down(control: ControlDouble) -> None:
    """Make a double end its connections when it is told to go down."""

    def down(data: dict[str, Any]) -> dict[str, Any]:
        threading.Thread(target=control.drop_clients).start()
        return {}

    control.answers["down"] = down


def test_detached_start(starting: Starting, project: Path, run: Run) -> None:
    """`up -d` starts the supervisor, tells notes, ports and the fallback on stderr, and returns 0."""
    done = run("up", "-d", "--strict-ports", "memory")
    assert done.code == 0
    assert starting.calls == [(project / "config.yaml", ("memory",), True, bring_up.REPORT_TIMEOUT_S)]
    assert "pid 99" in done.err
    assert "ports 5000, 5006 reserved" in done.err
    assert "inference listens on 5006, not on the first port" in done.err
    assert done.out == ""


def test_a_refused_start_keeps_its_exit_code(
    project: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the supervisor reports instead of starting is the outcome of `up`."""

    def refuse(*arguments: Any) -> None:
        raise PortInUse([])

    monkeypatch.setattr(bring_up, "start_supervisor", refuse)
    assert run("up", "-d").code == 5


def test_losing_a_race_means_reconciling(
    project: Path, run: Run, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """When another `up` was faster its stack is brought in line instead."""

    def lose(*arguments: Any) -> None:
        request.getfixturevalue("control")
        raise AlreadyOwned("lucid", 1)

    monkeypatch.setattr(bring_up, "start_supervisor", lose)
    done = run("up", "-d")
    assert done.code == 0
    assert "already running; nothing to change" in done.err


class SlowOwner:
    """Owns the project, and begins to answer, or ends, once somebody has waited for it."""

    def __init__(self, happens: Callable[[], bool]) -> None:
        self.is_closed = False
        self._happens = happens

    def wait_gone(self, timeout_s: float) -> bool:
        """Wait, and see what happens meanwhile."""
        return self._happens()

    def close(self) -> None:
        """It was let go of."""
        self.is_closed = True


def test_another_up_is_waited_for_until_it_answers(
    project: Path, run: Run, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """A supervisor that has only just begun to start is no conflict: its stack is brought in line."""
    owner = SlowOwner(lambda: not request.getfixturevalue("control"))
    monkeypatch.setattr(bring_up, "find_owner", lambda path: owner)

    def lose(*arguments: Any) -> None:
        raise AlreadyOwned("lucid", 1)

    monkeypatch.setattr(bring_up, "start_supervisor", lose)
    done = run("up", "-d")
    assert (done.code, owner.is_closed) == (0, True)
    assert "already running; nothing to change" in done.err


def test_an_owner_that_ends_makes_room(
    starting: Starting, project: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start is tried again at once."""
    owner = SlowOwner(lambda: True)
    monkeypatch.setattr(bring_up, "find_owner", lambda path: owner)
    refusals = iter([AlreadyOwned("lucid", 1)])

    def start(*arguments: Any) -> dict[str, Any]:
        for refusal in refusals:
            raise refusal
        return starting(*arguments)

    monkeypatch.setattr(bring_up, "start_supervisor", start)
    assert run("up", "-d").code == 0
    assert (len(starting.calls), owner.is_closed) == (1, True)


def test_an_unchanged_stack(control: ControlDouble, run: Run) -> None:
    """`up` on a running, unchanged stack exits 0 with a note and does not stay."""
    control.answers["up"] = lambda data: {"actions": [{"service": "memory", "action": "keep", "reason": ""}]}
    done = run("up")
    assert done.code == 0
    assert "already running; nothing to change" in done.err
    assert control.wait_for_command("up") == {"services": [], "strict_ports": False}


def test_changes_are_told(control: ControlDouble, run: Run) -> None:
    """Each service that is started, restarted or stopped is told with the reason."""
    control.answers["up"] = lambda data: {
        "actions": [{"service": "memory", "action": "restart", "reason": "options.model changed"}],
        "notes": ["memory runs on the CPU"],
    }
    done = run("up", "-d")
    assert "restart memory: options.model changed" in done.err
    assert "warning: memory runs on the CPU" in done.err


def test_waiting_until_ready(control: ControlDouble, run: Run) -> None:
    """`--wait` returns 0 with the addresses when everything is ready."""

    def work() -> None:
        control.wait_for_command("subscribe")
        control.publish(all_ready())

    thread = threading.Thread(target=work)
    thread.start()
    done = run("up", "--wait")
    thread.join()
    assert done.code == 0
    assert "ws://localhost:5005" in done.err


def test_waiting_for_a_failed_service(control: ControlDouble, run: Run) -> None:
    """`--wait` ends with 1 and the last stderr lines as soon as a service has failed."""
    document = crash_looping()
    document["services"]["memory"]["children"][0]["state"] = "failed"
    control.document = document
    done = run("up", "--wait")
    assert done.code == 1
    assert "database is locked" in done.err


def test_waiting_too_long(control: ControlDouble, run: Run) -> None:
    """`--wait --timeout` ends with 124."""
    assert run("up", "--wait", "--timeout", "50ms").code == 124


def test_foreground_excludes_detaching(project: Path, run: Run) -> None:
    """`--foreground -d` is a usage error."""
    assert run("up", "--foreground", "-d").code == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("ready", "code"), [(True, 0), (False, 130)])
def test_a_signal_stops_the_plain_mode(
    starting: Starting, run: Run, number: signal.Signals, ready: bool, code: int
) -> None:
    """Without a terminal `up` stays until SIGINT or SIGTERM: 0 when it was ready, else 130."""
    threads = []

    def prepare(control: ControlDouble) -> None:
        def work() -> None:
            control.wait_for_command("subscribe")
            os.kill(os.getpid(), number)

        end_on_down(control)
        control.document = all_ready() if ready else two_services()
        threads.append(threading.Thread(target=work))
        threads[0].start()

    starting.prepare = prepare
    done = run("up")
    threads[0].join()
    assert done.code == code
    assert ("all services are ready" in done.out) == ready
    assert "\x1b" not in done.out + done.err


def leaving_documents() -> list[dict[str, Any]]:
    """What is seen of a stack that is stopped before it was ready: one service gone, then the other."""
    half = two_services()
    half["services"]["memory"] = service(child("memory", "stopped"), desired="down")
    inference = service(child("inference", "stopped"), desired="down")
    return [half, status(memory=half["services"]["memory"], inference=inference)]


@pytest.mark.parametrize("is_signalled", [True, False])
def test_what_is_stopped_before_it_was_ready_is_never_called_ready(
    starting: Starting, run: Run, is_signalled: bool
) -> None:
    """On its way out a stack wants less and less, and what is left is ready; by a signal or by `down`."""
    threads = []

    def prepare(control: ControlDouble) -> None:
        def leave() -> None:
            for document in leaving_documents():
                control.publish(document)
            control.drop_clients()

        def work() -> None:
            control.wait_for_command("subscribe")
            if is_signalled:
                os.kill(os.getpid(), signal.SIGTERM)
                control.wait_for_command("down")
            leave()

        threads.append(threading.Thread(target=work))
        threads[0].start()

    starting.prepare = prepare
    done = run("up", "--foreground")
    threads[0].join()
    assert done.code == (130 if is_signalled else 1)
    assert "all services are ready" not in done.out
    assert "memory" in done.out


def test_sigterm_while_the_supervisor_starts_is_an_interruption(
    project: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Ctrl-C is: `start_supervisor` hears of it and takes back what it began; exit code 130."""
    heard = []

    def start(*arguments: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt:
            heard.append("interrupt")
            raise

    monkeypatch.setattr(bring_up, "start_supervisor", start)
    before = signal.getsignal(signal.SIGTERM)
    assert run("up", "--foreground").code == 130
    assert heard == ["interrupt"]
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_plain_mode_gives_up_in_time(starting: Starting, run: Run) -> None:
    """Not ready within --timeout: everything is stopped, exit 124."""
    starting.prepare = end_on_down
    assert run("up", "--timeout", "200ms").code == 124
