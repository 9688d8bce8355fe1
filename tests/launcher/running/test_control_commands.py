"""launcher.running.control_commands: each command, what it asks of the stack, and what it refuses."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any, cast

import pytest

from launcher.errors import ActionFailed, LauncherError, NoSuchService
from launcher.lifecycle_values import StartRequested
from launcher.reconcile import Action
from launcher.records import from_json, to_json
from launcher.running.control_commands import BadRequest, Commands
from launcher.running.listing import list_service
from launcher.running.reload import Reconciler
from launcher.snapshot import StatusDocument
from tests.launcher.running.bench import Bench


class Asked:
    """A reconciler that only notes what it is asked for."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    async def up(
        self, names: Sequence[str], *, strict_ports: bool = False, restart: Sequence[str] = ()
    ) -> tuple[list[Action], list[str]]:
        """Note it; the file has no `nope`."""
        if "nope" in names:
            raise NoSuchService("nope", ["a", "b", "new"])
        self.calls.append(("up", list(names), strict_ports, list(restart)))
        return [Action("a", "start", "is not running")], ["a note"]

    async def scale(self, name: str, replicas: int) -> tuple[list[Action], list[str]]:
        """Note it."""
        self.calls.append(("scale", name, replicas))
        return [Action(name, "update", "replicas changed")], []


class Scene:
    """Commands on a stack with two services that run."""

    def __init__(self, bench: Bench) -> None:
        self.stack = bench.supervisor().stack
        self.asked = Asked()
        self.ended: list[float | None] = []
        self.commands = Commands(
            self.stack,
            cast(Reconciler, self.asked),
            self.stack.publisher,
            lambda: cast(StatusDocument, {"schema": "lucid.status/1"}),
            self.ended.append,
            self.reload,
        )

    async def reload(self) -> str:
        """Another supervisor of this version takes over."""
        self.asked.calls.append(("reload",))
        return "9.9"

    async def answer(self, kind: str, **data: Any) -> dict[str, Any]:
        """The payload of one command."""
        return await self.commands.answer(kind, data)


@pytest.fixture
async def scene(bench: Bench) -> Scene:
    """A stack and its commands."""
    scene = Scene(bench)
    for name, service in (("a", "a"), ("b.0", "b")):
        child = bench._posts[0].add(name, service, state="ready", desired_up=True, generation=1, pid=9)
        # Nothing of what it is asked is done.
        child.perform = lambda effect: None  # type: ignore[method-assign]  # its edges are held elsewhere
    return scene


async def test_up_is_a_reconcile(scene: Scene) -> None:
    """What was done is told with its reason; a name that is given twice counts once."""
    payload = await scene.answer("up", services=["b", "a", "b"], strict_ports=True)
    assert payload == {
        "actions": [{"service": "a", "action": "start", "reason": "is not running"}],
        "notes": ["a note"],
    }
    await scene.answer("up")
    assert scene.asked.calls == [("up", ["b", "a"], True, []), ("up", [], False, [])]


async def test_start_reads_the_file_only_for_what_is_not_known(scene: Scene) -> None:
    """What runs by settings that are known needs no planner."""
    assert await scene.answer("start", services=["a"]) == {"accepted": True}
    assert list(scene.stack._events) == [("a", StartRequested())]
    assert scene.asked.calls == []
    await scene.answer("start", services=["a", "new"])
    await scene.answer("start")
    assert [call[1] for call in scene.asked.calls] == [["a", "new"], []]


async def test_stop_means_all_unless_it_names_some(scene: Scene) -> None:
    """A name that is not known stops nobody."""
    with pytest.raises(NoSuchService):
        await scene.answer("stop", services=["a", "nope"])
    await scene.answer("stop", services=["a"])
    scene.stack._handle_all()
    assert [child.life.desired_up for child in scene.stack.children.values()] == [False, True]
    await scene.answer("stop")
    scene.stack._handle_all()
    assert not any(child.life.desired_up for child in scene.stack.children.values())


async def test_restart_is_asked_of_the_reconciler(scene: Scene) -> None:
    """As the file may have changed since; one that stands nowhere restarts nobody."""
    await scene.answer("restart", services=["a"])
    await scene.answer("restart")
    with pytest.raises(NoSuchService):
        await scene.answer("restart", services=["a", "nope"])
    assert scene.asked.calls == [("up", ["a"], False, ["a"]), ("up", ["a", "b"], False, ["a", "b"])]


async def test_what_only_stands_in_the_file_is_known(scene: Scene) -> None:
    """It is stopped already, a restart starts it with what it needs, and only a running one can be scaled."""
    scene.stack.listed = {"new": list_service(from_json(to_json(scene.stack.services["a"], settings={})))}
    await scene.answer("stop", services=["new"])
    scene.stack._handle_all()
    assert all(child.life.desired_up for child in scene.stack.children.values())
    await scene.answer("restart", services=["a", "new"])
    assert scene.asked.calls == [("up", ["new"], False, []), ("up", ["a"], False, ["a"])]
    with pytest.raises(ActionFailed, match="has not been started"):
        await scene.answer("scale", service="new", replicas=2)


@pytest.mark.parametrize("replicas", [0, -1, 1025, 1.5, "2", True, None])
async def test_a_number_of_replicas_that_makes_no_sense(scene: Scene, replicas: object) -> None:
    """It is refused before anything is asked of anybody."""
    with pytest.raises(BadRequest, match="'replicas' must be a number from 1 to 1024"):
        await scene.answer("scale", service="a", replicas=replicas)
    assert scene.asked.calls == []


async def test_scale(scene: Scene) -> None:
    """Of one service that is there."""
    payload = await scene.answer("scale", service="b", replicas=3)
    assert payload["actions"] == [{"service": "b", "action": "update", "reason": "replicas changed"}]
    with pytest.raises(NoSuchService):
        await scene.answer("scale", service="nope", replicas=3)
    with pytest.raises(BadRequest, match="must be the name of one"):
        await scene.answer("scale", replicas=3)
    assert scene.asked.calls == [("scale", "b", 3)]


@pytest.mark.parametrize("services", ["", 0, False, {}, "a", [1]])
async def test_only_nothing_means_all(scene: Scene, services: object) -> None:
    """A mistake in the names stops nobody."""
    with pytest.raises(BadRequest, match="must be a list of names"):
        await scene.answer("stop", services=services)
    with pytest.raises(BadRequest, match="must be a list of names"):
        await scene.answer("restart", services=services)
    assert scene.asked.calls == []


async def test_down_with_and_without_a_limit(scene: Scene) -> None:
    """Seconds, or none."""
    await scene.answer("down")
    await scene.answer("down", timeout_s=2.5)
    for wrong in (-1, "soon", [], True, math.nan):
        with pytest.raises(BadRequest, match="must be a number of seconds"):
            await scene.answer("down", timeout_s=wrong)
    assert scene.ended == [None, 2.5]


async def test_what_is_asked_of_the_supervisor_itself(scene: Scene) -> None:
    """The snapshot, the events since a revision, and another supervisor."""
    assert await scene.answer("snapshot") == {"snapshot": {"schema": "lucid.status/1"}}
    await scene.answer("stop", services=["a"])
    scene.stack._handle_all()
    (event,) = (await scene.answer("events"))["events"]
    assert (event["child"], event["to"]) == ("a", "stopping")
    assert (await scene.answer("events", since=event["revision"]))["events"] == []
    assert await scene.answer("reload_self") == {"accepted": True, "pid": os.getpid(), "version": "9.9"}


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("stop", {"services": "a"}),
        ("stop", {"services": [1]}),
        ("up", {"services": {"a": 1}}),
        ("events", {"since": "x"}),
        ("events", {"since": True}),
    ],
)
async def test_what_cannot_be_understood_is_refused(scene: Scene, kind: str, data: dict[str, Any]) -> None:
    """By a code that programs can tell, and nothing happens."""
    with pytest.raises(BadRequest) as caught:
        await scene.answer(kind, **data)
    assert caught.value.code == "invalid_request"
    assert (scene.asked.calls, list(scene.stack._events)) == ([], [])


async def test_an_unknown_command_is_told_which_there_are(scene: Scene) -> None:
    """Shortened, however long it was."""
    with pytest.raises(BadRequest, match=r"type: x{80}; there are snapshot, .*subscribe") as caught:
        await scene.answer("x" * 5000)
    assert caught.value.code == "unknown_command"


async def test_a_stack_that_goes_down_takes_no_more_orders(scene: Scene) -> None:
    """But it still tells how it stands, and may be asked to hurry."""
    scene.stack.is_ending = True
    for kind in ("up", "start", "stop", "restart", "scale", "reload_self"):
        with pytest.raises(ActionFailed, match="going down"):
            await scene.answer(kind)
    await scene.answer("snapshot")
    await scene.answer("events")
    await scene.answer("down", timeout_s=0)
    assert scene.ended == [0]


async def test_refusals_are_launcher_errors(scene: Scene) -> None:
    """So that each has a code and an exit code."""
    with pytest.raises(LauncherError) as caught:
        await scene.answer("nope")
    assert caught.value.to_document()["code"] == "unknown_command"
