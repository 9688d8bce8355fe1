"""What a child lets be known of itself: what counts as progress, and what an answer becomes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from launcher.children.senses import Senses
from launcher.lifecycle_values import Event, ProbeFailed, ProbeSucceeded, Progressed
from launcher.notify import Notification
from launcher.probes import Answer, Failing, Loading, Well


@pytest.fixture
async def heard() -> AsyncIterator[tuple[Senses, list[Event]]]:
    """The senses of generation 3, and what they have posted."""
    posted: list[Event] = []
    senses = Senses(posted.append, lambda: None, lambda device: None)
    senses.begin(3)
    yield senses, posted
    senses.stop_probe()


@pytest.mark.parametrize(
    "said",
    [
        Notification(phase="load"),
        Notification(progress=0.1),
        Notification(status="Loading shard 1 of 3"),
        Notification(extend_s=5.0),
    ],
    ids=["phase", "number", "status", "extension"],
)
async def test_what_is_new_is_progress_once(heard: tuple[Senses, list[Event]], said: Notification) -> None:
    """A change extends the start; to say the same again does not, but for an extension that is asked for."""
    senses, posted = heard
    senses.notified(said)
    senses.notified(said)
    extend_s = said.extend_s or 0.0
    assert posted == [Progressed(3, extend_s)] * (2 if said.extend_s else 1)


async def test_a_step_back_is_a_change(heard: tuple[Senses, list[Event]]) -> None:
    """A new phase begins with a progress of its own, and the old number is forgotten."""
    senses, posted = heard
    for said in (Notification(phase="a", progress=0.9), Notification(phase="b"), Notification(progress=0.9)):
        senses.notified(said)
    assert posted == [Progressed(3)] * 3
    assert (senses.told.phase, senses.told.progress) == ("b", 0.9)


async def test_signs_of_life_are_not_progress(heard: tuple[Senses, list[Event]]) -> None:
    """A watchdog's ping alone does not extend a start."""
    senses, posted = heard
    senses.notified(Notification(is_watchdog=True))
    assert posted == []
    assert senses.facts.watchdog_at is not None


class Answers:
    """A probe with one answer after another, and then none."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.has_run_out, self.is_closed = asyncio.Event(), asyncio.Event()

    async def check(self) -> Answer:
        """The next answer; none after the last."""
        if not self._answers:
            self.has_run_out.set()
            await asyncio.Event().wait()
        return self._answers.pop(0)

    async def close(self) -> None:
        """Nobody asks any more."""
        self.is_closed.set()


async def test_every_answer_becomes_an_event(heard: tuple[Senses, list[Event]]) -> None:
    """Loading moves, well is success, failing is a failure with its text; the last one is kept."""
    senses, posted = heard
    probe = Answers(Loading("load", 0.5), Loading("load", 0.5), Well({"device": "cpu"}), Failing("hangs"))
    async with asyncio.TaskGroup() as tasks:
        senses.start_probe(probe, 0.01, 5.0, tasks, "a")
        await probe.has_run_out.wait()
        senses.stop_probe()
    assert posted == [Progressed(3), ProbeSucceeded(3), ProbeFailed(3, "hangs")]
    assert (senses.health.ok, senses.health.detail) == (False, "hangs")
    assert senses.told.device == "cpu"
    assert probe.is_closed.is_set()


async def test_a_starved_child_is_not_charged() -> None:
    """What fails while the child had no processor is shown with that, and is no event."""
    posted: list[Event] = []
    waited = iter([0.0, 1000.0])
    senses = Senses(posted.append, lambda: None, lambda device: None, lambda: next(waited))
    probe = Answers(Failing("silent"), Failing("silent"))
    async with asyncio.TaskGroup() as tasks:
        senses.start_probe(probe, 0.01, 5.0, tasks, "a")
        await probe.has_run_out.wait()
        senses.stop_probe()
    assert posted == [ProbeFailed(0, "silent")]
    assert senses.health.detail == "silent; it does not count, as the child had no processor to run on"
