"""A batch begins as soon as a stream is free, and ends for itself."""

import threading
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from servers.embedding.engine import Tokens, Vectors
from servers.embedding.pending import PendingRequest, QueuedText, SharedText
from servers.embedding.running import RunningBatches, count_streams
from tests.servers.embedding.doubles import ScriptedEngine


class Held:
    """A forward that ends when the test says so."""

    streams = 1

    def __init__(self, vectors: Callable[[], Vectors], on_part: Callable[[], None]) -> None:
        """Compute with `vectors`; `on_part` is told of the end."""
        self._vectors, self._on_part, self._has_ended = vectors, on_part, False

    def is_done(self) -> bool:
        """Whether it has ended."""
        return self._has_ended

    def vectors(self) -> Vectors:
        """The vectors, or what went wrong."""
        return self._vectors()

    def end(self) -> None:
        """The stream is free."""
        self._has_ended = True
        self._on_part()


class TwoStreams(ScriptedEngine):
    """An engine with two streams, each batch on one of them."""

    streams = 2

    def __init__(self) -> None:
        """Nothing has begun."""
        super().__init__()
        self.begun: list[Held] = []

    def begin(self, batch: Sequence[Tokens], streams: int, on_part: Callable[[], None]) -> Held:
        """Begin on one stream; the others that were offered stay free."""
        self.begun.append(Held(lambda: self.forward(batch), on_part))
        for _ in range(streams - 1):
            on_part()
        return self.begun[-1]


def queued(engine: ScriptedEngine, *texts: str) -> list[QueuedText]:
    """Texts of one request, tokenised."""
    request = PendingRequest(texts, engine.info.dimensions)
    tokens = engine.tokenize(texts)
    return [QueuedText(each, request, SharedText(text)) for each, text in zip(tokens, texts, strict=True)]


async def test_batches_run_side_by_side_and_end_in_any_order() -> None:
    """The second begins while the first is computed, and is at an end before it."""
    engine = TwoStreams()
    running = RunningBatches(engine, threading.Condition())
    running.begin(queued(engine, "first"), 1.0, 10)
    assert (running.free_streams, running.ended()) == (1, None)
    running.begin(queued(engine, "second"), 2.0, 10)
    assert (running.free_streams, running.since) == (0, 1.0)
    engine.begun[1].end()
    ended = running.ended()
    assert ended is not None
    assert [text.shared.text for text in ended.texts] == ["second"]
    expected = ScriptedEngine()
    np.testing.assert_array_equal(
        running.settle(ended).vectors, expected.forward(expected.tokenize(["second"]))
    )
    assert (running.free_streams, running.since, running.ended()) == (1, 1.0, None)


async def test_a_bad_text_of_a_begun_batch_fails_alone() -> None:
    """The batch that raised is computed again in halves, while another one goes on."""
    engine = TwoStreams()
    running = RunningBatches(engine, threading.Condition())
    running.begin(queued(engine, "fine", "poison", "good"), 1.0, 10)
    running.begin(queued(engine, "other"), 1.0, 10)
    engine.begun[0].end()
    ended = running.ended()
    assert ended is not None
    computed = running.settle(ended)
    assert list(computed.failures) == [1]
    assert computed.bisections == 2
    assert np.abs(computed.vectors[[0, 2]]).sum(axis=1).min() > 0


async def test_an_engine_without_streams_computes_one_batch_when_it_is_settled() -> None:
    """Nothing begins beside it."""
    engine = ScriptedEngine()
    running = RunningBatches(engine, threading.Condition())
    running.begin(queued(engine, "a", "b"), 1.0, 10)
    assert (engine.batches, running.free_streams) == ([], 0)
    ended = running.ended()
    assert ended is not None
    running.settle(ended)
    assert engine.batches == [["a", "b"]]
    assert (running.free_streams, running.since) == (1, None)


@pytest.mark.parametrize(("engine", "streams"), [(ScriptedEngine(), 1), (TwoStreams(), 2)])
def test_streams_are_those_of_the_engine(engine: ScriptedEngine, streams: int) -> None:
    """An engine that says nothing of streams has one."""
    assert count_streams(engine) == streams
