"""launcher.children.canary: when real work is asked for, and what its answer means."""

from __future__ import annotations

import asyncio

import pytest

from launcher.children.canary import CanaryProbe
from launcher.configuration.models import Canary
from launcher.probes import Answer, Failing, Loading, Well


class Scripted:
    """A probe whose answers are given; None never comes."""

    def __init__(self, *answers: Answer | None) -> None:
        self.answers = list(answers)
        self.asked = 0
        self.is_closed = False

    async def check(self) -> Answer:
        """The next answer; None never comes."""
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            await asyncio.Event().wait()
        assert answer is not None
        return answer

    async def close(self) -> None:
        """Given back."""
        self.is_closed = True


def made(probe: Scripted, canary: Scripted, **settings: object) -> CanaryProbe:
    """A canary probe with a small patience."""
    return CanaryProbe(probe, canary, Canary.model_validate({"type": "embeddings", **settings}), 0.05)


async def test_the_canary_is_asked_at_first_and_then_when_due() -> None:
    """Between two canaries only the cheap check is made."""
    probe, canary = Scripted(Well({"pid": 1})), Scripted(Well())
    both = made(probe, canary, period="1h")
    assert [await both.check() for _ in range(3)] == [Well({"pid": 1})] * 3
    assert (probe.asked, canary.asked) == (3, 1)
    often = made(probe, canary, period="10ms")
    often._settings = often._settings.model_copy(update={"period_s": 0.0})
    for _ in range(3):
        await often.check()
    assert canary.asked == 4
    await both.close()
    assert probe.is_closed
    assert canary.is_closed


async def test_green_but_dead_is_a_failure_every_time() -> None:
    """A canary that failed stays due, so that the good checks in between do not hide it."""
    both = made(Scripted(Well()), Scripted(Failing("answers 'embeddings' with an error: dead"), Well()))
    first = await both.check()
    assert first == Failing(
        "answers its checks, but the canary fails: it answers 'embeddings' with an error: dead"
    )
    assert await both.check() == Well()


async def test_late_is_as_bad_as_never() -> None:
    """Work beyond its latency budget fails, with the budget in the reason."""
    both = made(Scripted(Well()), Scripted(None), timeout="20ms")
    answer = await both.check()
    assert answer == Failing("answers its checks, but not the canary 'embeddings' within 0.02 s")


@pytest.mark.parametrize("answer", [Failing("is silent"), Loading("warmup"), None])
async def test_no_canary_before_the_child_is_well(answer: Answer | None) -> None:
    """A child that loads is not asked for work; one whose check is late has failed already."""
    canary = Scripted(Well())
    found = await made(Scripted(answer), canary).check()
    assert found == (answer or Failing("did not answer within 0.05 s"))
    assert canary.asked == 0


async def test_a_canary_that_is_still_loading_is_no_failure() -> None:
    """The child says by itself that it is not ready for work."""
    assert await made(Scripted(Well()), Scripted(Loading("warmup"))).check() == Loading("warmup")
