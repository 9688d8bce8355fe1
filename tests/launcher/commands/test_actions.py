"""start, stop, restart, wait, down, events, completion: what is sent, what is waited for, how they end."""

import copy
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.launcher.commands.conftest import Run
from tests.launcher.control_double import (
    ControlDouble,
    Document,
    all_ready,
    child,
    crash_looping,
    service,
    status,
    two_services,
)

EVENT = {
    "revision": 43,
    "at": "2026-11-23T14:02:21.000000Z",
    "service": "memory",
    "child": "memory",
    "from": "starting",
    "to": "ready",
    "reason": None,
    "detail": "is ready, pid 29310",
    "generation": 1,
    "pid": 29310,
}


def failed() -> Document:
    """Memory has given up."""
    document = crash_looping()
    document["services"]["memory"]["state"] = "failed"
    document["services"]["memory"]["children"][0].update(state="failed", reason="gave up after 5 failures")
    return document


def with_generation(document: Document, generation: int) -> Document:
    """The same picture with memory in a later generation."""
    changed = copy.deepcopy(document)
    changed["services"]["memory"]["children"][0]["generation"] = generation
    return changed


@pytest.fixture
def after_subscribing(control: ControlDouble) -> Callable[..., None]:
    """Publish documents from another thread as soon as somebody has subscribed."""

    def publish(*documents: Document) -> None:
        def work() -> None:
            control.wait_for_command("subscribe")
            for document in documents:
                control.publish(document)

        threading.Thread(target=work).start()

    return publish


@pytest.mark.parametrize("verb", ["start", "stop", "restart"])
def test_an_action_is_sent_and_accepted(control: ControlDouble, run: Run, verb: str) -> None:
    """Without --wait the command goes out once with the names and returns 0."""
    done = run(verb, "memory", "inference")
    assert done.code == 0
    assert control.wait_for_command(verb) == {"services": ["memory", "inference"]}
    assert done.out == ""


def test_an_unknown_service_is_not_stopped(control: ControlDouble, run: Run) -> None:
    """A misspelt name exits 4 with a suggestion, and nothing is sent."""
    done = run("stop", "memroy")
    assert done.code == 4
    assert "did you mean 'memory'?" in done.err
    assert "stop" not in [kind for kind, _ in control.commands]


@pytest.mark.parametrize("verb", ["start", "restart"])
def test_a_service_that_the_file_has_only_got_since(
    control: ControlDouble, run: Run, after_subscribing: Callable[..., None], verb: str
) -> None:
    """The supervisor reads the file again and decides; `--wait` waits for what it then starts."""
    begun = {**all_ready()["services"], "new": service(child("new", "starting"))}
    ready = {**all_ready()["services"], "new": service(child("new"))}
    after_subscribing(status(**begun), status(**ready))
    assert run(verb, "new", "--wait").code == 0
    assert control.wait_for_command(verb) == {"services": ["new"]}


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "events", "wait"])
def test_not_running(project: Path, run: Run, verb: str) -> None:
    """Without a supervisor every one of them exits 3 with the start command."""
    done = run(verb, *([] if verb == "events" else ["memory"]))
    assert done.code == 3
    assert "lucid-launch up" in done.err


def test_the_supervisors_refusal_is_shown_as_it_came(control: ControlDouble, run: Run) -> None:
    """An error reply keeps its code, sentence, hint and exit code."""
    control.answers["restart"] = lambda data: {
        "status": "error",
        "code": "E_CONFIG",
        "exit_code": 2,
        "message": "config.yaml:3:1: no",
        "hint": "mend it",
    }
    done = run("restart", "memory")
    assert done.code == 2
    assert "error[E_CONFIG]: config.yaml:3:1: no" in done.err
    assert "hint: mend it" in done.err


def test_restart_waits_for_a_new_generation(
    control: ControlDouble, run: Run, after_subscribing: Callable[..., None]
) -> None:
    """A picture that still shows the old process as ready does not count."""
    control.document = all_ready()
    after_subscribing(all_ready(), with_generation(all_ready(), 2))
    assert run("restart", "memory", "--wait").code == 0


def test_start_of_a_failed_service_ignores_the_old_failure(
    control: ControlDouble, run: Run, after_subscribing: Callable[..., None]
) -> None:
    """The picture from before the start does not count as failing again."""
    control.document = failed()
    after_subscribing(failed(), with_generation(all_ready(), 2))
    assert run("start", "memory", "--wait").code == 0


def test_stop_waits_until_it_is_stopped(
    control: ControlDouble, run: Run, after_subscribing: Callable[..., None]
) -> None:
    """`stop --wait` returns when the child is stopped."""
    stopped = status(memory=service(child("memory", "stopped"), desired="down"))
    after_subscribing(all_ready(), stopped)
    assert run("stop", "memory", "--wait").code == 0


def test_wait_fails_as_soon_as_one_has_failed(control: ControlDouble, run: Run) -> None:
    """A failed service ends `wait` with 1, its reason and its last words."""
    control.document = failed()
    done = run("wait")
    assert done.code == 1
    assert "gave up after 5 failures" in done.err
    assert "database is locked" in done.err


def test_wait_times_out(control: ControlDouble, run: Run) -> None:
    """`--timeout` ends the wait with 124 and the names that are missing."""
    done = run("wait", "--timeout", "50ms")
    assert done.code == 124
    assert "memory did not get there" in done.err


def test_wait_counts_a_one_shot_that_ended_well(control: ControlDouble, run: Run) -> None:
    """A service that did its work and exited 0 is as good as ready."""
    control.document = status(
        job=service(child("job", "stopped", last_exit={"code": 0, "reason": "exited"}), desired="up")
    )
    assert run("wait").code == 0


def test_wait_for_stopped_when_nothing_runs(project: Path, run: Run) -> None:
    """Nothing running is as stopped as can be."""
    assert run("wait", "--for", "stopped").code == 0


def test_wait_for_stopped_ends_with_the_stack(control: ControlDouble, run: Run) -> None:
    """The supervisor's end counts as everything stopped; for `ready` it is a failure."""

    def end() -> None:
        control.wait_for_command("subscribe")
        control.drop_clients()

    thread = threading.Thread(target=end)
    thread.start()
    assert run("wait", "--for", "stopped").code == 0
    thread.join()


def test_wait_tells_what_happens(
    control: ControlDouble, run: Run, after_subscribing: Callable[..., None]
) -> None:
    """Phases and state changes go to stderr, one a line, without an escape code."""

    def work() -> None:
        control.wait_for_command("subscribe")
        control.emit(EVENT)
        control.publish(all_ready())

    thread = threading.Thread(target=work)
    thread.start()
    done = run("wait")
    thread.join()
    assert "memory starting open-store 62%" in done.err
    assert "● memory ready: is ready, pid 29310" in done.err
    assert "\x1b" not in done.err
    assert done.out == ""


def test_down_with_nothing_running(project: Path, run: Run) -> None:
    """`down` without a stack is a note and exit 0."""
    done = run("down")
    assert done.code == 0
    assert "nothing to stop" in done.err


def test_events_as_text_and_json(control: ControlDouble, run: Run) -> None:
    """The remembered events, oldest first."""
    control.events = [EVENT]
    assert "● memory ready: is ready, pid 29310" in run("events").out
    assert json.loads(run("events", "--json").out) == EVENT


def test_events_follow_without_doubles(control: ControlDouble, run: Run) -> None:
    """`-f` shows the past once and then what comes, until the stack ends."""
    control.events = [EVENT]
    later = {**EVENT, "revision": 44, "to": "stopping", "detail": "is being stopped"}

    def work() -> None:
        control.wait_for_command("events")
        control.emit(later)
        control.drop_clients()

    thread = threading.Thread(target=work)
    thread.start()
    lines = run("events", "-f", "--json").out.splitlines()
    thread.join()
    assert [json.loads(line) for line in lines] == [EVENT, later]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(project: Path, run: Run, shell: str) -> None:
    """Each shell gets a script that asks this program."""
    done = run("completion", shell)
    assert done.code == 0
    assert "_LUCID_LAUNCH_COMPLETE" in done.out


def test_service_names_complete_themselves(
    control: ControlDouble, project: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shell is offered the running stack's services."""
    from launcher import cli

    monkeypatch.setenv("_LUCID_LAUNCH_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "lucid-launch restart m")
    monkeypatch.setenv("COMP_CWORD", "2")
    with pytest.raises(SystemExit):
        cli.main([])
    assert capfd.readouterr().out.split(",")[-1].strip() == "memory"


def test_quiet_silences_notes_only(control: ControlDouble, run: Run) -> None:
    """`-q` drops progress and hints, not errors."""
    assert run("-q", "stop", "memory").err == ""
    assert run("-q", "stop", "memroy").err != ""


def test_the_picture_of_the_double_is_incomplete(control: ControlDouble, run: Run) -> None:
    """`wait SVC` looks at that service alone."""
    control.document = two_services()
    assert run("wait", "inference").code == 0
