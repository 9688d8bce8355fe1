"""reload: what is asked of the supervisor, what is told, and how it ends when the other one does not come."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.errors import ActionFailed, ConfigInvalid, ConfigProblem
from tests.launcher.commands.conftest import Run
from tests.launcher.control_double import ControlDouble, all_ready

CHANGES = [
    {"service": "memory", "action": "restart", "reason": "port changed"},
    {"service": "inference", "action": "keep", "reason": "nothing changed"},
]
WAITS = [sys.executable, "-c", "import sys; sys.stdin.read()"]


@pytest.fixture
def supervisor(control: ControlDouble) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is the supervisor of the double's document, until its stdin is closed."""
    process = subprocess.Popen(WAITS, stdin=subprocess.PIPE)
    control.document = all_ready()
    control.document["supervisor"] |= {"pid": process.pid, "version": "0.1.0"}
    yield process
    process.kill()
    process.communicate()


def test_only_what_changed_is_told(control: ControlDouble, run: Run) -> None:
    """The whole file is meant; what stays as it is is not worth a line."""
    control.answers["up"] = lambda data: {"actions": CHANGES, "notes": ["a note"]}
    done = run("reload")
    assert (done.code, done.out) == (0, "")
    assert "restart memory: port changed" in done.err
    assert "a note" in done.err
    assert "inference" not in done.err
    assert control.commands == [("up", {"services": []})]


def test_the_document_holds_it_all(control: ControlDouble, run: Run) -> None:
    """With --json every action is there, and nothing was replaced."""
    control.answers["up"] = lambda data: {"actions": CHANGES, "notes": []}
    document = json.loads(run("reload", "--json").out)
    expected = {"schema": "lucid.reload/1", "replaced": None, "actions": CHANGES, "notes": []}
    assert document == expected


def test_a_bad_file_is_shown_with_its_place(control: ControlDouble, run: Run) -> None:
    """What the supervisor finds wrong is an error of the file: exit 2, with the line."""
    problem = ConfigProblem(3, 5, "config.yaml", "services.a.prot", "unknown key; did you mean 'port'?")
    error = ConfigInvalid([problem]).to_document()
    control.answers["up"] = lambda data: {"status": "error", "error": "", **error}
    done = run("reload")
    assert done.code == 2
    assert "config.yaml:3:5: services.a.prot: unknown key; did you mean 'port'?" in done.err


@pytest.mark.parametrize("flags", [(), ("--self",)])
def test_nothing_runs(project: Path, run: Run, flags: tuple[str, ...]) -> None:
    """There is nothing to reload: exit 3, and nothing is started."""
    assert run("reload", *flags).code == 3


def test_another_supervisor_takes_over(
    control: ControlDouble, run: Run, supervisor: subprocess.Popen[bytes]
) -> None:
    """Once the old one has ended and another answers, both are named, with the time it took."""

    def leave(data: object) -> dict[str, object]:
        after = {**control.document["supervisor"], "pid": 4711, "version": "0.2.0"}
        control.document = {**control.document, "supervisor": after}
        assert supervisor.stdin is not None
        supervisor.stdin.close()
        return {"accepted": True}

    control.answers["reload_self"] = leave
    done = run("reload", "--self", "--json")
    replaced = json.loads(done.out)["replaced"]
    assert replaced["before"] == {"pid": supervisor.pid, "version": "0.1.0"}
    assert replaced["after"] == {"pid": 4711, "version": "0.2.0"}
    assert 0 <= replaced["took_s"] < 60
    assert f"(pid {supervisor.pid} -> 4711, version 0.1.0 -> 0.2.0)" in done.err
    assert replaced["children"] == sum(
        child["pid"] is not None
        for service in control.document["services"].values()
        for child in service["children"]
    )


def test_a_supervisor_that_cannot_be_replaced_goes_on(
    control: ControlDouble, run: Run, supervisor: subprocess.Popen[bytes]
) -> None:
    """An installation that does not load is the supervisor's answer, exit 1; nobody has ended."""
    error = ActionFailed("another supervisor could not take over: ImportError", hint="mend it").to_document()
    control.answers["reload_self"] = lambda data: {"status": "error", "error": "", **error}
    done = run("reload", "--self")
    assert done.code == 1
    assert "could not take over: ImportError" in done.err
    assert supervisor.poll() is None


def test_a_supervisor_that_stays_is_not_waited_for_endlessly(
    control: ControlDouble, run: Run, supervisor: subprocess.Popen[bytes]
) -> None:
    """After --timeout the exit code is 124, and the pid that is still there is named."""
    done = run("reload", "--self", "--timeout", "200ms")
    assert done.code == 124
    assert f"(pid {supervisor.pid}) is still there" in done.err
