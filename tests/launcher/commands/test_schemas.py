"""Everything that a verb prints with `--json` is as its shipped schema says, key by key."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from tests.launcher.commands.conftest import Run
from tests.launcher.commands.server_double import ServerDouble
from tests.launcher.control_double import ControlDouble, all_ready
from tests.strict_schema import SCHEMAS, problems

CONFIG = "services: {job: {command: [sleep, '100']}}\n"


@pytest.mark.parametrize("path", sorted(SCHEMAS.glob("*.json")), ids=lambda path: path.name)
def test_every_schema_is_one(path: Path) -> None:
    """The files are valid JSON Schema of the version that they name."""
    Draft202012Validator.check_schema(json.loads(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("name", "argv"),
    [
        ("lucid.plan", ("plan",)),
        ("lucid.doctor", ("doctor",)),
        ("lucid.config", ("config", "show")),
        ("lucid.check", ("config", "check")),
        ("lucid.init", ("init", "--force")),
        ("lucid.action", ("down",)),
        ("lucid.error", ("status",)),
        ("lucid.error", ("-f", "none.yaml", "config", "show")),
    ],
)
def test_without_a_stack(project: Path, run: Run, name: str, argv: tuple[str, ...]) -> None:
    """The verbs that need nothing to run, and their failures."""
    (project / "config.yaml").write_text(CONFIG)
    document = json.loads(run(*argv, "--json").out)
    assert document["schema"] == f"{name}/1"
    assert problems(name, document) == []


@pytest.mark.parametrize(
    ("name", "argv"),
    [
        ("lucid.up", ("up", "-d")),
        ("lucid.up", ("up", "--wait")),
        ("lucid.action", ("stop", "memory")),
        ("lucid.reload", ("reload",)),
        ("lucid.error", ("stop", "memroy")),
    ],
)
def test_with_a_stack(control: ControlDouble, run: Run, name: str, argv: tuple[str, ...]) -> None:
    """The verbs that talk to a supervisor."""
    control.document = all_ready()
    action = {"service": "memory", "action": "keep", "reason": "nothing changed"}
    control.answers["up"] = lambda data: {"actions": [action], "notes": []}
    assert problems(name, json.loads(run(*argv, "--json").out)) == []


def test_call_statistics(control: ControlDouble, run: Run) -> None:
    """`call --count` on a server that tells its own times."""
    server = ServerDouble()
    try:
        control.document = all_ready()
        control.document["services"]["inference"]["url"] = server.url
        document = json.loads(run("call", "inference", "stats", "--count", "3", "--json").out)
    finally:
        server.close()
    assert problems("lucid.call", document) == []


def test_log_records(project: Path, run: Run) -> None:
    """Each line of `logs --json` by itself."""
    line = "2026-11-23T14:02:20.655123Z"
    (project / "logs" / "job.log").write_text(
        f"{line} stdout | ERROR x\n{line} lucid | generation 1 started, pid 7\n"
    )
    records = [json.loads(row) for row in run("logs", "--json").out.splitlines()]
    assert [record["level"] for record in records] == ["error", "info"]
    assert [problems("lucid.log", record) for record in records] == [[], []]


def test_an_undescribed_key_is_found() -> None:
    """The check would notice a key that the schema does not name, or one that is missing."""
    document = {"schema": "lucid.action/1", "action": "stop", "services": [], "extra": 1}
    assert len(problems("lucid.action", document)) == 2
