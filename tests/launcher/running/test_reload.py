"""launcher.running.reload and installer: the running stack follows the file, or nothing of it changes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from launcher.children.runtime import ChildRuntime
from launcher.configuration.needs import child_names
from launcher.errors import LauncherError, PortInUse
from launcher.placement import CPU
from launcher.planning.prepared import PreparedChild
from launcher.reconcile import Action, settings_of
from launcher.records import from_json, to_json
from launcher.running.file_plan import FilePlan, PlanRequest
from launcher.running.metrics_port import MetricsPort
from launcher.running.reload import Reconciler
from tests.launcher.config_files import load
from tests.launcher.running.bench import Bench, listening

FILE = """
project: p
services:
  a: {command: [x], port: 6001, inherit_sockets: true}
  b: {command: [y], replicas: 2}
"""


class Metrics:
    """A port that can be taken."""

    def __init__(self) -> None:
        self.taken: int | None = None
        self.port: int | None = None

    async def listen_on(self, port: int | None, where: str | None) -> None:
        """Listen, or refuse."""
        if port is not None and port == self.taken:
            raise PortInUse(())
        self.port = port


class Scene:
    """A stack, its file, and a planner that reads the file as it is when it is asked."""

    def __init__(self, bench: Bench) -> None:
        self.post = bench.supervisor()
        self.stack = self.post.stack
        self.file = bench.folder / "config.yaml"
        self.requests: list[PlanRequest] = []
        self.plans: list[FilePlan] = []
        self.metrics = Metrics()
        self.metrics_port: int | None = None
        self.is_asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        metrics = cast(MetricsPort, self.metrics)
        self.reconciler = Reconciler(self.stack, self.file, self.ask, self.make, metrics)
        self.write(FILE)

    def write(self, text: str) -> None:
        """Change the file."""
        self.file.write_text(text)

    def make(self, prepared: PreparedChild) -> ChildRuntime:
        """A new child."""
        return self.post.make_runtime(prepared, Path(f"@{self.file.parent}/{prepared.name}"))

    async def ask(self, request: PlanRequest) -> FilePlan:
        """What a planner would answer; raises ConfigInvalid for a bad file."""
        self.requests.append(request)
        self.is_asked.set()
        await self.may_answer.wait()
        config = load(self.file.parent, self.file.read_text())
        found = {}
        for name, service in config.services.items():
            scaled = service.model_copy(update={"replicas": request.scaled.get(name, service.replicas)})
            found[name] = from_json(to_json(scaled, settings=settings_of(scaled)))
        chosen = frozenset(request.names or found)
        children = {}
        for name in chosen:
            service = found[name]
            for child in child_names(service):
                sockets = request.held.get(child, ())
                if service.inherit_sockets and not sockets:
                    sockets = (listening(),)
                children[child] = PreparedChild(child, service, 0, None, sockets, False, None, CPU)
        self.plans.append(FilePlan(config.project, found, chosen, children, ["a note"], self.metrics_port))
        return self.plans[-1]

    async def up(self, *names: str, restart: Sequence[str] = ()) -> dict[str, str]:
        """Reconcile; returns the kind of each action."""
        actions, _ = await self.reconciler.up(names, restart=restart)
        self.stack._handle_all()
        return {action.service: action.kind for action in actions}

    def all_ready(self) -> None:
        """Whoever is wanted is up, as its first generation."""
        for pid, child in enumerate(self.stack.children.values()):
            child.life = replace(
                child.life, state="ready", pid=1000 + pid, spawning=False, timer=None, due_at=None
            )
            child.spawned_service = child.service

    def states(self) -> dict[str, str]:
        """The state of each child."""
        return {name: child.life.state for name, child in self.stack.children.items()}


@pytest.fixture
async def scene(bench: Bench) -> Scene:
    """A stack that is to be started."""
    return Scene(bench)


async def test_the_first_time_everything_starts(scene: Scene) -> None:
    """Children are made in the file's order, and what was agreed is remembered."""
    assert await scene.up() == {"a": "start", "b": "start"}
    assert scene.states() == {"a": "starting", "b.0": "starting", "b.1": "starting"}
    assert scene.reconciler.agreed.project == "p"
    assert set(scene.reconciler.agreed.digests) == {"a", "b"}


async def test_what_is_unchanged_is_left_alone(scene: Scene) -> None:
    """The sockets that are held are told to the planner, and stay the same ones."""
    await scene.up()
    scene.all_ready()
    held = scene.stack.children["a"].prepared.sockets
    assert await scene.up() == {"a": "keep", "b": "keep"}
    assert scene.stack.children["a"].prepared.sockets == held
    assert held[0].fileno() != -1
    assert scene.requests[1].held["a"] == held
    assert scene.requests[1].running == {"a": ["a"], "b": ["b.0", "b.1"]}
    assert set(scene.states().values()) == {"ready"}


async def test_only_what_changed_is_restarted(scene: Scene) -> None:
    """And where a setting holds without a new process, nobody is."""
    await scene.up()
    scene.all_ready()
    scene.write(FILE.replace("[x]", "[x, --more]"))
    assert await scene.up() == {"a": "restart", "b": "keep"}
    assert scene.states() == {"a": "stopping", "b.0": "ready", "b.1": "ready"}
    scene.all_ready()
    scene.write(scene.file.read_text().replace("replicas: 2", "replicas: 2, stop: {grace: 33s}"))
    assert await scene.up() == {"a": "keep", "b": "update"}
    assert scene.stack.children["b.0"].life.rules.grace_s == 33.0
    assert set(scene.states().values()) == {"ready"}


async def test_what_left_the_file_is_stopped_and_gone(scene: Scene) -> None:
    """Also when it had been stopped before."""
    await scene.up()
    scene.all_ready()
    scene.write("services:\n  b: {command: [y], replicas: 2}\n")
    assert await scene.up() == {"a": "stop", "b": "keep"}
    assert scene.states()["a"] == "stopping"
    assert list(scene.stack.of("a")) == []


async def test_one_service_alone_leaves_the_others_as_they_are(scene: Scene) -> None:
    """Even those that the file no longer has."""
    await scene.up()
    scene.all_ready()
    scene.write("services:\n  b: {command: [z], replicas: 2}\n")
    assert await scene.up("b") == {"b": "restart"}
    assert scene.states()["a"] == "ready"


async def test_whoever_stands_in_the_file_is_listed(scene: Scene) -> None:
    """Also who was not meant, and nobody else; who is no longer enabled is stopped with that reason."""
    await scene.up("a")
    assert scene.stack.names() == ["a", "b"]
    assert list(scene.stack.services) == ["a"]
    scene.write("services: {a: {command: [x], enabled: false}, b: {command: [y]}}")
    actions, _ = await scene.reconciler.up([])
    assert Action("a", "stop", "is no longer enabled") in actions
    assert scene.stack.listed["a"]["reason"] == "it is not enabled in the file"
    assert scene.stack.listed["b"]["children"] == ["b"]


async def test_a_bad_file_changes_nothing(scene: Scene) -> None:
    """Not even what is remembered."""
    await scene.up()
    scene.all_ready()
    before = replace(scene.reconciler.agreed)
    scene.write("services: {a: {commnd: [x]}}")
    with pytest.raises(LauncherError):
        await scene.up()
    assert (scene.reconciler.agreed, set(scene.states().values())) == (before, {"ready"})


async def test_a_metrics_port_that_is_taken_changes_nothing(scene: Scene) -> None:
    """What was bound for the plan is closed again, and what is held stays open."""
    await scene.up()
    scene.all_ready()
    scene.write(FILE + "  d: {command: [w], port: 6002, inherit_sockets: true}\n")
    scene.metrics_port = scene.metrics.taken = 9100
    with pytest.raises(PortInUse):
        await scene.up()
    assert scene.plans[-1].children["d"].sockets[0].fileno() == -1
    assert scene.stack.children["a"].prepared.sockets[0].fileno() != -1
    assert "d" not in scene.stack.services
    assert scene.reconciler.agreed.metrics_port is None


async def test_a_restart_needs_no_planner_while_the_file_is_the_same(scene: Scene) -> None:
    """Once it has changed, its new settings are read first."""
    await scene.up()
    scene.all_ready()
    assert await scene.up("a", restart=["a"]) == {"a": "restart"}
    assert len(scene.requests) == 1
    scene.all_ready()
    scene.write(FILE + "# changed\n")
    assert await scene.up("a", restart=["a"]) == {"a": "restart"}
    assert len(scene.requests) == 2


async def test_a_scale_holds_until_the_next_up(scene: Scene) -> None:
    """A restart keeps it, as it is not the file that is asked for."""
    await scene.up()
    scene.all_ready()
    actions, notes = await scene.reconciler.scale("b", 3)
    scene.stack._handle_all()
    assert [(action.service, action.kind) for action in actions] == [("b", "update")]
    assert notes == ["a note"]
    assert scene.states() == {"a": "ready", "b.0": "ready", "b.1": "ready", "b.2": "starting"}
    scene.all_ready()
    scene.write(FILE + "# changed\n")
    await scene.up("b", restart=["b"])
    assert scene.requests[-1].scaled == {"b": 3}
    assert list(scene.stack.of("b")) == ["b.0", "b.1", "b.2"]
    scene.all_ready()
    await scene.up()
    assert (scene.requests[-1].scaled, scene.reconciler.agreed.scaled) == ({}, {})
    assert list(scene.stack.of("b")) == ["b.0", "b.1"]


async def test_a_service_that_has_failed_counts_as_missing(scene: Scene) -> None:
    """So that `up` tries it again."""
    await scene.up()
    scene.all_ready()
    child = scene.stack.children["a"]
    child.life = replace(child.life, state="failed", pid=None)
    assert await scene.up() == {"a": "start", "b": "keep"}
    assert scene.states()["a"] == "starting"


async def test_one_change_at_a_time(scene: Scene) -> None:
    """The second is planned with what the first has done."""
    scene.may_answer.clear()
    first = asyncio.create_task(scene.up("a"))
    second = asyncio.create_task(scene.up("b"))
    await scene.is_asked.wait()
    scene.may_answer.set()
    assert [await first, await second] == [{"a": "start"}, {"b": "start"}]
    assert [sorted(request.running) for request in scene.requests] == [[], ["a"]]


async def test_actions_say_why(scene: Scene) -> None:
    """In words that the user is shown."""
    await scene.up()
    scene.all_ready()
    actions, _ = await scene.reconciler.up(["a"], restart=["a"])
    assert actions == [Action("a", "restart", "restart requested")]
