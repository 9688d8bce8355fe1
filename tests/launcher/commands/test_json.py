"""`--json` of every verb that acts: one document on stdout, also when the verb fails."""

import json
from pathlib import Path

import pytest

from tests.launcher.commands.conftest import Run
from tests.launcher.control_double import ControlDouble, all_ready


@pytest.mark.parametrize(
    ("argv", "document"),
    [
        (("stop", "memory"), {"action": "stop", "services": ["memory"], "done": False}),
        (("start", "memory"), {"action": "start", "services": ["memory"], "done": False}),
        (("restart", "memory"), {"action": "restart", "services": ["memory"], "done": False}),
        (("wait",), {"action": "wait", "services": [], "done": True}),
    ],
)
def test_actions(
    control: ControlDouble, run: Run, argv: tuple[str, ...], document: dict[str, object]
) -> None:
    """What was asked for, of whom, and whether it is done or goes on."""
    control.document = all_ready()
    done = run(*argv, "--json")
    assert done.code == 0
    assert json.loads(done.out) == {"schema": "lucid.action/1", **document}


def test_down_with_nothing_running(project: Path, run: Run) -> None:
    """Nothing to stop is done at once."""
    document = json.loads(run("down", "--json").out)
    assert document == {"schema": "lucid.action/1", "action": "down", "services": [], "done": True}


def test_up_tells_what_it_changed_and_where_things_are(control: ControlDouble, run: Run) -> None:
    """Actions with reasons, notes, and the address of every service."""
    control.document = all_ready()
    action = {"service": "memory", "action": "restart", "reason": "port changed"}
    control.answers["up"] = lambda data: {"actions": [action], "notes": ["a note"]}
    document = json.loads(run("up", "-d", "--json").out)
    assert document["schema"] == "lucid.up/1"
    assert (document["started"], document["waited"]) == (False, False)
    assert document["actions"] == [action]
    assert document["notes"] == ["a note"]
    assert document["services"]["memory"] == {"state": "ready", "port": 5000, "url": "ws://localhost:5000"}


def test_up_without_an_end_has_no_document(control: ControlDouble, run: Run) -> None:
    """`up --json` alone would stay: it is a usage error that says what to add."""
    done = run("up", "--json")
    assert done.code == 2
    assert "-d, --wait or --dry-run" in done.err


@pytest.mark.parametrize(
    ("argv", "code", "exit_code"),
    [
        (("status",), "E_NOT_RUNNING", 3),
        (("wait",), "E_NOT_RUNNING", 3),
        (("config", "check"), "E_CONFIG", 2),
        (("config", "show"), "E_CONFIG", 2),
        (("init",), "E_CONFIG_EXISTS", 5),
        (("events",), "E_NOT_RUNNING", 3),
    ],
)
def test_a_failure_is_a_document_too(
    project: Path, run: Run, argv: tuple[str, ...], code: str, exit_code: int
) -> None:
    """A program that asked for JSON gets JSON, whatever happens; a person still gets the sentence on
    stderr.
    """
    done = run(*argv, "--json")
    document = json.loads(done.out)
    assert (done.code, document["schema"], document["ok"]) == (exit_code, "lucid.error/1", False)
    assert (document["code"], document["exit_code"]) == (code, exit_code)
    assert document["message"]
    assert done.err


def test_config_check(project: Path, run: Run) -> None:
    """A right file is told with its services."""
    (project / "config.yaml").write_text("services: {job: {command: [sleep, '1']}}\n")
    document = json.loads(run("config", "check", "--json").out)
    assert document == {
        "schema": "lucid.check/1",
        "ok": True,
        "path": str(project / "config.yaml"),
        "services": ["job"],
    }
