"""`plan`: what `up` would do, with nothing running and with a running stack's status."""

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher import cli
from launcher.commands import plan as verb
from launcher.config import Config, load_config
from launcher.errors import NoSuchService
from launcher.planning.stack_plan import plan_stack
from launcher.reconcile import settings_of
from launcher.sockets import bind_service, close_all

TEXT = """\
services:
  m: {{server: memory, port: {port}, gpu: none, depends_on: {{c: started}}}}
  c: {{command: [sh]}}
  d: {{command: [sh], enabled: false}}
"""


@pytest.fixture
def held() -> Iterator[tuple[socket.socket, ...]]:
    """A port of ours."""
    sockets = bind_service("localhost", 0)
    yield sockets
    close_all(sockets)


@pytest.fixture
def config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: tuple[socket.socket, ...]
) -> Callable[..., Config]:
    """Makes the Config, by default on a port that is free; the folder is the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    port = held[0].getsockname()[1]

    def make(text: str = TEXT, *, is_free: bool = True) -> Config:
        if is_free:
            close_all(held)
        (tmp_path / "config.yaml").write_text(text.format(port=port))
        return load_config(tmp_path / "config.yaml", {})

    return make


def status(config: Config, **changes: dict[str, Any]) -> dict[str, Any]:
    """The status document of a stack that runs as `config` says, but for `changes` to its services."""
    services = {
        name: {
            "desired": "up",
            "port": 4711,
            "url": "ws://localhost:4711",
            "fallback_port": False,
            "settings": settings_of(service),
            "children": [{"name": name, "pid": 1, "gpu": {"ids": ["GPU-0"], "device": "cuda:0"}}],
            **changes.get(name, {}),
        }
        for name, service in config.services.items()
        if service.enabled
    }
    return {"supervisor": {"pid": 1}, "services": services}


def test_with_nothing_running_everything_enabled_starts(
    config: Callable[..., Config], capsys: pytest.CaptureFixture[str]
) -> None:
    """With ports and devices, and the port is free again afterwards."""
    made = config()
    assert cli.main(["plan", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "lucid.plan/1"
    assert document["running"] is False
    assert [(a["service"], a["action"]) for a in document["actions"]] == [("m", "start"), ("c", "start")]
    port = made.services["m"].port
    child = document["children"][0]
    assert (str(child["port"]), child["device"]) == (str(port), "cpu")
    close_all(bind_service("localhost", child["port"]))


def test_the_plain_plan_is_for_reading(
    config: Callable[..., Config], capsys: pytest.CaptureFixture[str]
) -> None:
    """One line for each action with its reason, and where it would run."""
    config()
    assert cli.main(["plan"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "start    m  is not running"
    assert "ws://localhost:" in lines[1]
    assert "on cpu" in lines[1]


def test_it_fails_with_what_up_would_fail_with(
    config: Callable[..., Config], capsys: pytest.CaptureFixture[str]
) -> None:
    """A taken port is exit 5 here too."""
    config(is_free=False)
    assert cli.main(["plan"]) == 5
    assert "error[E_PORT_IN_USE]: m cannot listen" in capsys.readouterr().err


def test_an_unchanged_stack_is_kept(config: Callable[..., Config]) -> None:
    """Ports and devices are those it has; nothing is tried."""
    made = config(is_free=False)
    plan = plan_stack(made, status(made), {})
    assert not plan.has_changes
    assert {action.kind for action in plan.actions} == {"keep"}
    assert plan.children[0].port == 4711
    assert plan.children[0].gpus == ["GPU-0"]
    assert "nothing to do" in list(verb._lines(plan))[-1]


def test_changes_are_found_by_the_settings_of_the_running_stack(config: Callable[..., Config]) -> None:
    """Changed: restart; stopped by the user: start; gone from the file: stop."""
    before = status(config())
    before["services"]["gone"] = {"desired": "up", "settings": {}, "children": []}
    before["services"]["c"]["desired"] = "down"
    made = config(TEXT.replace("gpu: none", "gpu: none, env: {{A: 1}}"))
    plan = plan_stack(made, before, {"PATH": "/usr/bin:/bin"})
    assert [(a.service, a.kind, a.reason) for a in plan.actions] == [
        ("gone", "stop", "is no longer in the file"),
        ("m", "restart", "env changed"),
        ("c", "start", "is not running"),
    ]


def test_a_supervisor_that_tells_no_settings(config: Callable[..., Config]) -> None:
    """Is not claimed to be unchanged."""
    made = config()
    plan = plan_stack(made, status(made, m={"settings": None}), {})
    assert plan.actions[0].kind == "keep"
    assert "does not tell" in plan.actions[0].reason
    assert "cannot be seen" in list(verb._lines(plan))[-1]


def test_named_services_bring_their_dependencies(config: Callable[..., Config]) -> None:
    """And nothing else; an unknown one is exit 4."""
    made = config()
    assert [a.service for a in plan_stack(made, None, {"PATH": "/usr/bin:/bin"}, only=["c"]).actions] == ["c"]
    assert [a.service for a in plan_stack(made, None, {"PATH": "/usr/bin:/bin"}, only=["m"]).actions] == [
        "m",
        "c",
    ]
    with pytest.raises(NoSuchService, match="did you mean 'm'"):
        plan_stack(made, None, {}, only=["mm"])
