"""launcher.running.file_plan: a real planner is asked, and what it answers, or fails to, is understood."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from launcher.children.parent import Parent
from launcher.errors import ConfigInvalid, LauncherError, SupervisorFailed
from launcher.running.file_plan import FilePlan, PlanRequest, ask_planner
from tests.launcher.guarded import guarded
from tests.launcher.running.bench import listening

FILE = """
project: p
services:
  a: {command: ["true"], port: auto, inherit_sockets: true, host: 127.0.0.1}
  b: {command: ["true"], replicas: 2}
"""


@pytest.fixture
async def parent() -> AsyncIterator[Parent]:
    """A parent with a guardian of its own."""
    async with guarded() as parent:
        yield parent


def request(path: Path, text: str = FILE, **changes: object) -> PlanRequest:
    """What is asked when nothing runs yet."""
    path.write_text(text)
    base = {
        "path": path,
        "names": [],
        "with_needs": True,
        "strict_ports": False,
        "scaled": {},
        "service": None,
        "running": {},
        "held": {},
        "seats": {},
        "own_pids": [],
    }
    return PlanRequest(**{**base, **changes})  # type: ignore[arg-type]  # fields by name


def close_all(plan: FilePlan) -> None:
    """Close what was bound for it."""
    plan.close_fresh({})


async def test_a_file_becomes_services_children_and_bound_sockets(parent: Parent, tmp_path: Path) -> None:
    """The sockets listen already, and are ours alone now."""
    plan = await ask_planner(parent, request(tmp_path / "config.yaml"))
    assert (plan.project, sorted(plan.services), plan.chosen) == ("p", ["a", "b"], {"a", "b"})
    assert sorted(plan.children) == ["a", "b.0", "b.1"]
    child = plan.children["a"]
    (listener,) = child.sockets
    assert listener.getsockname() == ("127.0.0.1", child.port)
    assert child.service is plan.services["a"]
    assert not os.get_inheritable(listener.fileno())
    close_all(plan)
    assert listener.fileno() == -1


async def test_what_is_held_is_not_bound_again(parent: Parent, tmp_path: Path) -> None:
    """The very sockets that the child has come back, and are not closed with the plan."""
    with listening() as held:
        port = held.getsockname()[1]
        text = FILE.replace("auto", str(port))
        asked = request(tmp_path / "config.yaml", text, running={"a": ["a"]}, held={"a": (held,)})
        plan = await ask_planner(parent, asked)
        assert plan.children["a"].sockets == (held,)
        plan.close_fresh({"a": (held,)})
        assert held.fileno() != -1


async def test_a_bad_file_is_the_planners_error(parent: Parent, tmp_path: Path) -> None:
    """With its place in the file, as if it had been read here."""
    with pytest.raises(LauncherError, match=r"config\.yaml:1:16: services\.a\.commnd") as caught:
        await ask_planner(parent, request(tmp_path / "config.yaml", "services: {a: {commnd: [x]}}"))
    assert (caught.value.code, caught.value.exit_code) == (ConfigInvalid.code, ConfigInvalid.exit_code)


async def test_a_planner_that_dies_says_its_last_words(
    parent: Parent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No answer is an error too, and no descriptor stays."""
    before = len(os.listdir("/proc/self/fd"))
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho first >&2\necho no memory >&2\nexit 3\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(SupervisorFailed, match="the planner failed: no memory"):
        await ask_planner(parent, request(tmp_path / "config.yaml"))
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_planner_that_cannot_be_started_is_an_error(
    parent: Parent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says why."""
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(SupervisorFailed, match=r"the file cannot be read: .*No such file"):
        await ask_planner(parent, request(tmp_path / "config.yaml"))
