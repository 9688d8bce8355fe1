"""launcher.running.takeover and continuity: what one supervisor has written down, another goes on with."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from typing import Any

import pytest

from launcher.children.exits import LastExit
from launcher.children.handover import HandedProcess, Handover
from launcher.lifecycle_values import Spawned, StartRequested
from launcher.processes import ExitStatus
from launcher.restart_policy import Outcome
from tests.launcher.running.bench import ABOUT, NONCE, Bench, Post, listening

UP: dict[str, Any] = {"desired_up": True, "generation": 1}


def posted(post: Post) -> list[tuple[str, Any]]:
    """The events that wait to be handled, by child."""
    return list(post.stack._events)


def ready(bench: Bench, process: HandedProcess, **changes: Any) -> Post:
    """A supervisor whose child `a` is ready as that process, and which has written so."""
    first = bench.supervisor()
    child = first.add("a", **{**UP, "state": "ready", "pid": process.pid, **changes})
    child.nonce = str(process.about.get("nonce", ""))
    first.continuity.write()
    return first


# --- which process belongs to which life --------------------------------------------------------------------


async def test_a_process_that_runs_goes_on_untouched(bench: Bench) -> None:
    """Same pid, same generation, no signal, nothing posted: nobody notices."""
    process = bench.process(ABOUT)
    ready(bench, process)
    second = bench.supervisor()
    assert second.restore(Handover("died", {}, [process])) == 1
    child = second.stack.children["a"]
    assert (child.life.state, child.life.pid, child.life.generation) == ("ready", process.pid, 1)
    assert child.tree is not None
    assert (child.tree.pid, child.nonce) == (process.pid, ABOUT["nonce"])
    assert (second.words_on(process.pid), posted(second)) == ([], [])


async def test_a_process_that_was_started_after_the_last_word_is_recognised(bench: Bench) -> None:
    """The journal knows that it was about to be; its nonce it has never heard."""
    process = bench.process(ABOUT)
    first = bench.supervisor()
    first.add("a", **UP, state="starting", spawning=True)
    first.continuity.write()
    second = bench.supervisor()
    assert second.restore(Handover("died", {}, [process])) == 1
    assert posted(second) == [("a", Spawned(1, process.pid))]
    assert second.words_on(process.pid) == []


async def test_a_generation_that_began_after_the_last_word_counts(bench: Bench) -> None:
    """Not even that it was about to be is in the journal: the process itself says so."""
    process = bench.process({**ABOUT, "generation": 5})
    first = bench.supervisor()
    first.add("a", **{**UP, "generation": 4}, state="backoff", timer="backoff", due_at=1.0)
    first.continuity.write()
    second = bench.supervisor()
    assert second.restore(Handover("died", {}, [process])) == 1
    life = second.stack.children["a"].life
    assert (life.generation, life.state, life.spawning) == (5, "starting", True)
    assert posted(second) == [("a", Spawned(5, process.pid))]


async def test_a_child_that_was_renamed_is_known_by_its_nonce(bench: Bench) -> None:
    """What the process was told at its start stays its name for the guardian."""
    process = bench.process(ABOUT)
    first = bench.supervisor()
    child = first.add("b", "b", **UP, state="ready", pid=process.pid)
    child.nonce = ABOUT["nonce"]
    first.stack.rename("b", "b.0")
    first.continuity.write()
    second = bench.supervisor()
    assert second.restore(Handover("died", {}, [process])) == 1
    assert second.stack.children["b.0"].life.pid == process.pid
    assert second.words_on(process.pid) == []


async def test_one_that_nobody_claims_is_ended(bench: Bench) -> None:
    """A probe of the supervisor that died, a child that has left: killed, or let go when they have ended."""
    stranger = bench.process({**ABOUT, "child": "gone", "nonce": f"{NONCE}.77"})
    probe = bench.process()
    over = bench.process({**ABOUT, "child": "gone", "nonce": f"{NONCE}.78"}, ExitStatus(0, None))
    first = bench.supervisor()
    first.add("a")
    first.continuity.write()
    second = bench.supervisor()
    assert second.restore(Handover("died", {}, [stranger, probe, over])) == 0
    words = [(word["do"], word["pid"]) for word in second.words() if "pid" in word]
    assert sorted(words) == sorted([("signal", stranger.pid), ("signal", probe.pid), ("release", over.pid)])


async def test_an_end_that_was_written_down_needs_only_the_last_word(bench: Bench) -> None:
    """It is not counted again: the process is let go, and the child waits as it did."""
    process = bench.process(ABOUT, ExitStatus(1, None))
    first = ready(bench, process, state="backoff", pid=None, timer="backoff", due_at=1e12, failures=2)
    second = bench.supervisor()
    assert second.restore(Handover("died", {}, [process])) == 1
    assert second.words_on(process.pid) == ["release"]
    assert second.stack.children["a"].life == first.stack.children["a"].life
    assert posted(second) == []


# --- a life whose process is gone ---------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [True, False])
async def test_a_life_whose_process_is_gone_begins_anew(bench: Bench, wanted: bool) -> None:
    """It died with the guardian, so no failure is charged, and it is started only where it is wanted."""
    process = bench.process(ABOUT)
    state = "unhealthy" if wanted else "stopping"
    charge = Outcome("exited", 1)
    ready(
        bench, process, state=state, desired_up=wanted, failures=1, charge=charge, timer="grace", due_at=9.0
    )
    second = bench.supervisor()
    assert second.restore(Handover("guardian_lost", {}, [])) == 0
    child = second.stack.children["a"]
    assert (child.life.state, child.life.pid, child.life.failures) == ("stopped", None, 1)
    assert (child.life.timer, child.life.charge, child.life.due_at) == (None, None, None)
    assert posted(second) == ([("a", StartRequested())] if wanted else [])
    assert child.exits.total == 1
    assert child.exits.last is not None
    assert child.exits.last.outcome == Outcome("killed")
    for fd in process.fds:
        os.close(fd)


async def test_a_start_that_never_came_to_be_is_made_again(bench: Bench) -> None:
    """The word to the guardian was never said, or died with it: the same generation is spawned."""
    first = bench.supervisor()
    first.add("a", **UP, state="starting", spawning=True, timer="startup", due_at=1e12)
    first.continuity.write()
    second = bench.supervisor()
    assert second.restore(Handover("died", {}, [])) == 0
    (task,) = second.tasks.all
    assert task.get_name() == "spawn a"
    assert second.stack.children["a"].life.generation == 1


async def test_who_was_at_rest_stays_at_rest(bench: Bench) -> None:
    """Nothing is started that nobody asked for."""
    first = bench.supervisor()
    first.add("a", state="failed", reason="it failed", generation=9, failures=5)
    first.continuity.write()
    second = bench.supervisor()
    second.restore(Handover("died", {}, []))
    life = second.stack.children["a"].life
    assert (life.state, life.reason, life.generation, life.failures) == ("failed", "it failed", 9, 5)
    assert (posted(second), second.tasks.all, second.words()) == ([], [], [])


# --- what else goes on --------------------------------------------------------------------------------------


async def test_an_end_that_nobody_has_seen_is_told(bench: Bench) -> None:
    """The exit status comes from the handover, in the words that the guardian would have used."""
    process = bench.process(ABOUT, ExitStatus(7, None))
    ready(bench, process)
    second = bench.supervisor()
    assert second.restore(Handover("died", {}, [process])) == 1
    run = second.tasks.create_task(second.stack.run(), name="run")
    while second.stack.children["a"].exits.last is None:
        await bench.turn()
    last = second.stack.children["a"].exits.last
    assert last is not None
    assert (last.status, last.outcome) == (ExitStatus(7, None), Outcome("exited", 7))
    assert second.stack.children["a"].exits.total == 1
    assert not run.done()


async def test_facts_and_counters_go_on(bench: Bench) -> None:
    """Exits, phases, the last exit, the settings of the running generation, revision and events."""
    process = bench.process(ABOUT)
    first = ready(bench, process, restarts=3, failures=2)
    child = first.stack.children["a"]
    child.exits.total, child.diagnosis, child.spawned_at = 4, "logs/diagnosis/x", 12.5
    child.spawned_service = bench.services["a"]
    child.senses.told.phase, child.senses.told.progress = "warming", 0.5
    child.senses.facts.is_ready = True
    outcome, status = Outcome("killed"), ExitStatus(None, 9)
    child.exits.last = LastExit(outcome, status, "2026-11-23T00:00:00Z", 1.5, ("last", "words"), None)
    first.stack.publisher.revision = 17
    first.continuity.write()
    second = bench.supervisor()
    second.restore(Handover("died", {}, [process]))
    again = second.stack.children["a"]
    assert (again.life, again.exits.total, again.diagnosis) == (child.life, 4, "logs/diagnosis/x")
    assert again.spawned_service == bench.services["a"]
    assert (again.senses.told, again.senses.facts) == (child.senses.told, child.senses.facts)
    assert again.exits.last is not None
    assert replace(again.exits.last, stderr_tail=("last", "words")) == child.exits.last
    assert list(again.exits.last.stderr_tail) == ["last", "words"]
    assert second.stack.publisher.revision == 17
    assert second.reconciler.agreed == first.reconciler.agreed


async def test_sockets_are_the_same_ones(bench: Bench) -> None:
    """A client that waits in the queue of a listening socket is served by whoever comes next."""
    process = bench.process(ABOUT)
    first = ready(bench, process)
    child, held = first.stack.children["a"], listening()
    child.prepared = replace(child.prepared, sockets=(held,))
    child.hear()
    first.continuity.write()
    kept = {word["name"] for word in first.words() if word["do"] == "keep"}
    assert kept >= {"listen a", "notify a"}
    client = socket.create_connection(held.getsockname())
    assert child.notify is not None
    handed = {"listen a": [os.dup(held.fileno())], "notify a": [os.dup(child.notify.fileno())]}
    second = bench.supervisor()
    second.restore(Handover("died", handed, [process]))
    again = second.stack.children["a"]
    (listener,) = again.prepared.sockets
    connection, _ = listener.accept()
    assert again.notify is not None
    second.continuity.write()
    assert [
        word for word in second.words() if word["do"] in ("keep", "drop") and "spool" not in word["name"]
    ] == []
    connection.close()
    client.close()


async def test_what_was_asked_goes_on(bench: Bench) -> None:
    """A stack that was ending ends, and a child that was to leave leaves."""
    first = bench.supervisor()
    first.add("a")
    first.add("b.1", "b", state="stopped")
    first.stack.forget(["b.1"])
    first.stack.is_ending = True
    first.continuity.write()
    second = bench.supervisor()
    second.restore(Handover("reload", {}, []))
    assert second.stack.is_ending
    assert list(second.stack.of("b")) == []
    await second.stack.run()
    assert list(second.stack.children) == ["a"]


async def test_settings_are_those_that_were_written(bench: Bench) -> None:
    """Not what the file says meanwhile, and equal in every field."""
    first = bench.supervisor()
    first.add("a")
    first.add("b.0", "b")
    first.add("c", "c")
    first.continuity.write()
    second = bench.supervisor()
    second.restore(Handover("died", {}, []))
    assert second.stack.services == bench.services
    assert second.stack.children["b.0"].service is second.stack.services["b"]


@pytest.mark.parametrize("is_written", [True, False])
async def test_the_generation_before_does_not_pass_for_the_present_one(
    bench: Bench, is_written: bool
) -> None:
    """A child died and was started again when the supervisor was killed, and the dead one is not let go yet.

    The one that runs goes on, whether or not the journal has heard of it; the other is let go.
    """
    before = bench.process(ABOUT, ExitStatus(1, None))
    process = bench.process({**ABOUT, "generation": 2, "nonce": f"{NONCE}.02"})
    if is_written:
        ready(bench, before, generation=2, state="starting", pid=None, spawning=True)
    else:
        ready(bench, before)
    second = bench.supervisor()
    assert second.restore(Handover("died", {}, [before, process])) == 1
    child = second.stack.children["a"]
    assert child.tree is not None
    assert (child.tree.pid, child.life.generation) == (process.pid, 2)
    assert posted(second) == [("a", Spawned(2, process.pid))]
    words = [(word["do"], word["pid"]) for word in second.words() if "pid" in word]
    assert words == [("release", before.pid)]
    assert child.exits.total == (0 if is_written else 1)
