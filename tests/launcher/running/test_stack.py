"""launcher.running.stack and roster: what is asked of several children, and what is told of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from launcher.children.runtime import ChildRuntime
from launcher.errors import NoSuchService
from launcher.lifecycle_values import (
    CancelTimer,
    Effect,
    Event,
    Exited,
    ProbeSucceeded,
    SetTimer,
    Spawn,
    Spawned,
    SpawnFailed,
    StartProbe,
    StopProbe,
    Terminate,
)
from launcher.processes import ProcessTree
from launcher.restart_policy import Outcome
from launcher.running.listing import list_service
from tests.launcher.running.bench import Bench, Post, listening

QUIET = (SetTimer, CancelTimer, StartProbe, StopProbe)
"""Effects that no other child and no user can see."""


class Scene:
    """A stack whose children only note what they are to do; the test says what becomes of it."""

    def __init__(self, bench: Bench) -> None:
        self.post: Post = bench.supervisor()
        self.stack = self.post.stack
        self.done: list[tuple[str, Effect]] = []

    def add(self, name: str, service: str, **life: Any) -> ChildRuntime:
        """A child that performs nothing."""
        child = self.post.add(name, service, **life)

        def note(effect: Effect) -> None:
            if not isinstance(effect, QUIET):
                self.done.append((child.name, effect))

        child.perform = note  # type: ignore[method-assign]  # its edges are held elsewhere
        return child

    def happen(self, name: str, *events: Event) -> list[tuple[str, Effect]]:
        """Let these happen to a child; returns what was to be done about everything since the last call."""
        for event in events:
            self.stack.post(name, event)
        self.stack._handle_all()
        done, self.done[:] = list(self.done), []
        return done

    def all_up(self) -> Scene:
        """One child of each service, two of `b`, all ready as their second generation."""
        for pid, (name, service) in enumerate((("a", "a"), ("b.0", "b"), ("b.1", "b"), ("c", "c"))):
            self.add(name, service, state="ready", desired_up=True, generation=2, pid=100 + pid)
        return self

    def states(self) -> Mapping[str, str]:
        """The state of each child."""
        return {name: child.life.state for name, child in self.stack.children.items()}


@pytest.fixture
async def scene(bench: Bench) -> Scene:
    """An empty stack."""
    return Scene(bench)


def exited(generation: int, code: int = 0) -> Exited:
    """The leader has ended, and nothing else lives."""
    return Exited(generation, Outcome("exited", code), f"exit code {code}", True)


async def test_a_start_is_done_and_told_once(scene: Scene) -> None:
    """The child is spawned, programs hear an event, people a line; what is up already stays."""
    scene.add("a", "a")
    scene.stack.start(["a"])
    assert scene.happen("a") == [("a", Spawn(1))]
    (event,) = scene.stack.publisher.events_since(0)
    assert (event["child"], event["from"], event["to"], event["cause"]) == (
        "a",
        "stopped",
        "starting",
        "start_requested",
    )
    assert scene.post.said == ["a starting: generation 1"]
    scene.stack.start(["a"])
    assert scene.happen("a") == []
    assert len(scene.stack.publisher.events_since(0)) == 1


async def test_a_child_waits_for_what_it_needs(scene: Scene) -> None:
    """It says for whom, and starts when that is ready."""
    scene.add("a", "a")
    scene.add("c", "c")
    scene.stack.start(["a", "c"])
    assert scene.happen("c") == [("a", Spawn(1))]
    assert scene.states() == {"a": "starting", "c": "waiting"}
    assert "c waiting: for a" in scene.post.said
    assert scene.happen("a", Spawned(1, 5)) == []
    assert scene.happen("a", ProbeSucceeded(1)) == [("c", Spawn(1))]


async def test_a_stop_ends_dependents_first(scene: Scene) -> None:
    """What others rest on goes on until they are at rest."""
    scene.all_up()
    scene.stack.stop(["a", "c"])
    assert scene.happen("c") == [("c", Terminate())]
    assert scene.happen("c", exited(2)) == [("a", Terminate())]
    assert scene.happen("a", exited(2)) == []
    assert scene.states() == {"a": "stopped", "b.0": "ready", "b.1": "ready", "c": "stopped"}


async def test_a_start_that_was_asked_for_before_a_stop_is_not_handled_after_it(scene: Scene) -> None:
    """The last word counts, however close together they come."""
    scene.add("a", "a")
    scene.stack.start(["a"])
    scene.stack.stop(["a"])
    scene.happen("a")
    scene.happen("a", SpawnFailed(1, "no such file"))
    assert (scene.states(), scene.stack.children["a"].life.desired_up) == ({"a": "stopped"}, False)


async def test_a_restart_of_replicas_is_rolling(scene: Scene) -> None:
    """The second is restarted once the first is ready again, and meanwhile it serves."""
    scene.all_up()
    scene.stack.restart("b")
    assert scene.happen("b.0") == [("b.0", Terminate())]
    assert scene.happen("b.0", exited(2)) == [("b.0", Spawn(3))]
    assert scene.happen("b.0", Spawned(3, 7)) == []
    assert scene.happen("b.0", ProbeSucceeded(3)) == [("b.1", Terminate())]


async def test_a_rolling_restart_that_does_not_come_up_is_broken_off(scene: Scene) -> None:
    """The others are left alone, and the user is told which one it was."""
    scene.all_up()
    child = scene.stack.children["b.0"]
    never = replace(child.life.rules.restart, policy="never")
    child.life = replace(child.life, rules=replace(child.life.rules, restart=never))
    scene.stack.restart("b")
    scene.happen("b.0", exited(2))
    assert scene.happen("b.0", SpawnFailed(3, "no such file")) == []
    assert scene.states()["b.1"] == "ready"
    (note,) = scene.stack.notes_on("b")
    assert note.startswith("the rolling restart ended at b.0")
    assert scene.post.said[-1] == f"b: {note}"


async def test_an_end_is_over_when_all_are_at_rest(scene: Scene) -> None:
    """Not before, and in order; asking twice changes nothing."""
    scene.all_up()
    run = asyncio.create_task(scene.stack.run())
    scene.stack.end()
    scene.stack.end()
    assert {name for name, _ in scene.happen("c")} == {"b.0", "b.1", "c"}
    for name in ("b.0", "b.1", "c"):
        scene.happen(name, exited(2))
    assert not run.done()
    scene.happen("a", exited(2))
    await run
    assert set(scene.states().values()) == {"stopped"}


async def test_leaving_lets_everything_go_on(scene: Scene) -> None:
    """What is not handled yet is the next supervisor's."""
    scene.all_up()
    run = asyncio.create_task(scene.stack.run())
    scene.stack.leave()
    await run
    scene.stack.post("a", exited(2))
    assert scene.happen("a") == []
    assert scene.states()["a"] == "ready"


async def test_a_kill_waits_for_nobody(scene: Scene) -> None:
    """Every tree is killed, whoever needs whom."""
    scene.all_up()
    killed = []
    for name, child in scene.stack.children.items():
        tree = SimpleNamespace(kill=lambda name=name: killed.append(name))
        child.tree = cast(ProcessTree, tree)
    scene.stack.kill()
    assert killed == ["a", "b.0", "b.1", "c"]
    assert scene.stack.is_ending


async def test_who_is_to_leave_leaves_when_at_rest(scene: Scene) -> None:
    """Shown until then, and no replica any more; then its sockets are closed, and an empty service goes."""
    scene.all_up()
    held = listening()
    child = scene.stack.children["a"]
    child.prepared = replace(child.prepared, sockets=(held,))
    scene.stack.forget(["a", "b.1"])
    assert scene.happen("a") == [("a", Terminate()), ("b.1", Terminate())]
    assert (list(scene.stack.of("a")), list(scene.stack.shown("a"))) == ([], ["a"])
    scene.happen("a", exited(2))
    scene.happen("b.1", exited(2))
    assert sorted(scene.stack.children) == ["b.0", "c"]
    assert sorted(scene.stack.services) == ["b", "c"]
    assert held.fileno() == -1


async def test_one_that_was_to_leave_and_is_wanted_again_stays(scene: Scene) -> None:
    """It counts as new, so that it is started."""
    child = scene.add("a", "a", state="stopping", desired_up=False, generation=2, pid=9, timer="grace")
    scene.stack.forget(["a"])
    assert scene.stack.adopt(child)
    assert not scene.stack.adopt(child)
    scene.happen("a", exited(2))
    assert list(scene.stack.of("a")) == ["a"]


async def test_what_is_under_way_reaches_a_child_under_its_new_name(scene: Scene) -> None:
    """And what is for somebody who is gone reaches nobody."""
    scene.add("b", "b", state="ready", desired_up=True, generation=2, pid=9)
    scene.stack.post("b", exited(2, 1))
    scene.stack.rename("b", "b.0")
    scene.happen("nobody", exited(2))
    assert scene.states() == {"b.0": "backoff"}


async def test_a_service_is_found_at_its_first_replica(scene: Scene) -> None:
    """Also when that one was renamed later; what listens nowhere has no address."""
    for name, service, url in (("a", "a", "ws://x:7"), ("a.1", "a", "ws://x:8"), ("b", "b", None)):
        child = scene.add(name, service)
        child.prepared = replace(child.prepared, url=url)
    scene.stack.rename("a", "a.0")
    assert scene.stack.urls() == {"a": "ws://x:7"}


async def test_a_stranger_is_named(scene: Scene) -> None:
    """With those that there are."""
    scene.all_up()
    scene.stack.check_known(["a", "b"])
    with pytest.raises(NoSuchService, match="nope"):
        scene.stack.check_known(["a", "nope"])


async def test_a_service_of_the_file_is_no_stranger(scene: Scene, bench: Bench) -> None:
    """Whether it was started or not; the names come in the order of the file."""
    scene.add("a", "a")
    scene.add("b.0", "b")
    scene.stack.listed = {name: list_service(bench.services[name]) for name in ("c", "a")}
    assert scene.stack.names() == ["c", "a", "b"]
    scene.stack.check_known(["c", "b"])
    with pytest.raises(NoSuchService, match="'d'"):
        scene.stack.check_known(["d"])


async def test_settings_are_those_that_the_children_run_with(scene: Scene, bench: Bench) -> None:
    """A child that was spawned with others makes the service differ from its file, but while it is rolled."""
    scene.all_up()
    wanted = scene.stack.settings("b")
    old = scene.stack.children["b.1"]
    old.tree = cast(ProcessTree, SimpleNamespace(pid=1, started_ticks=2, kill=lambda: None))
    old.spawned_service = bench.services["a"]
    lagging = scene.stack.settings("b")
    assert {key for key in wanted if wanted[key] != lagging[key]} == {"command"}
    scene.stack.restart("b")
    assert scene.stack.settings("b") == wanted


async def test_what_is_to_be_swept_and_ranked(scene: Scene) -> None:
    """Only what may have processes is swept; who rests on others is stopped before them."""
    scene.all_up()
    child = scene.stack.children["a"]
    child.tree, child.nonce = cast(ProcessTree, SimpleNamespace(pid=7, started_ticks=8)), "n" * 16
    (entry,) = scene.stack.journal_entries()
    assert (entry.child, entry.pid, entry.started_ticks, entry.nonce) == ("a", 7, 8, "n" * 16)
    assert [scene.stack.rank(name) for name in ("a", "b", "c")] == [1, 1, 2]


async def test_what_was_asked_survives_as_json(scene: Scene, bench: Bench) -> None:
    """A rolling restart goes on with the second replica, and what stands in the file is still known."""
    scene.all_up()
    scene.stack.listed = {"new": list_service(bench.services["a"])}
    scene.stack.restart("b")
    scene.happen("b.0", exited(2), Spawned(3, 7))
    other = Scene(bench).all_up()
    other.stack.children["b.0"].life = scene.stack.children["b.0"].life
    other.stack.recall(json.loads(json.dumps(scene.stack.remember())))
    other.stack.check_known(["new"])
    assert other.happen("b.0", ProbeSucceeded(3)) == [("b.1", Terminate())]
