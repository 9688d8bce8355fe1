"""What all exported graphs have in common: padding in, pooling out, and failures told apart."""

from collections.abc import Generator, Sequence
from threading import Semaphore

import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer

from servers.embedding.engine import EngineOutOfMemory
from servers.embedding.graph_engine import GraphEngine, ModelCard, describe
from servers.embedding.models import find_model
from servers.embedding.pooling import Padded

CARD = ModelCard(dimensions=2, max_input_tokens=16, pad_id=0, pooling="mean", prompt="", matryoshka=True)


class EchoGraph:
    """A graph whose token vectors are the token's id and one."""

    def __init__(self, failure: Exception | None = None, streams: int = 1) -> None:
        """Raise `failure` instead, if given."""
        self.failure = failure
        self.streams = streams
        self.sizes: list[int] = []
        self.is_closed = self.is_settled = False

    def infer(self, parts: Sequence[Padded]) -> Generator[NDArray[np.float32], None, None]:
        """Yield the ids as vectors."""
        try:
            for ids, _ in parts:
                if self.failure is not None:
                    raise self.failure
                self.sizes.append(len(ids))
                yield np.stack([ids, np.ones_like(ids)], axis=2).astype(np.float32)
        finally:
            self.is_settled = True

    def close(self) -> None:
        """Remember it."""
        self.is_closed = True


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """The default model's tokenizer."""
    return Tokenizer.from_file(str(find_model("all-MiniLM-L6-v2").path / "tokenizer.json"))


def engine(graph: EchoGraph, tokenizer: Tokenizer) -> GraphEngine:
    """An engine around `graph`."""
    return GraphEngine(graph, CARD, tokenizer, describe(CARD, "echo", "onnx", "float32", "a test"))


def means(ids: Sequence[int]) -> list[float]:
    """The vector of a text with these ids."""
    return [float(np.mean(ids)), 1.0]


def test_each_text_is_the_mean_of_its_own_tokens(tokenizer: Tokenizer) -> None:
    """Padding of the batch is not part of any text."""
    echo = engine(EchoGraph(), tokenizer)
    batch = echo.tokenize(["rain", "a somewhat longer text about rain"])
    expected = [means(tokens.ids.tolist()) for tokens in batch]
    np.testing.assert_allclose(echo.forward(batch), np.array(expected), rtol=1e-6)


def test_a_batch_is_dealt_out_and_comes_back_in_its_order(tokenizer: Tokenizer) -> None:
    """Each core has a part of near lengths; which text went where is nobody else's business."""
    graph = EchoGraph(streams=2)
    echo = engine(graph, tokenizer)
    batch = echo.tokenize(["rain " * 9, "rain", "snow " * 9, "snow"])
    expected = [means(tokens.ids.tolist()) for tokens in batch]
    np.testing.assert_allclose(echo.forward(batch), np.array(expected), rtol=1e-6)
    assert sorted(graph.sizes) == [2, 2]
    assert graph.is_settled


@pytest.mark.parametrize(
    "failure",
    [
        MemoryError(),
        RuntimeError("ONNX Runtime: Failed to allocate memory for requested buffer of size 9"),
        RuntimeError("Exception from src/inference: std::bad_alloc"),
    ],
)
def test_a_failed_allocation_asks_for_a_smaller_batch(failure: Exception, tokenizer: Tokenizer) -> None:
    """Out of memory is told apart from a bad input, since halving the batch helps against it."""
    echo = engine(EchoGraph(failure), tokenizer)
    with pytest.raises(EngineOutOfMemory):
        echo.forward(echo.tokenize(["rain"]))


def test_any_other_failure_stays_what_it_is(tokenizer: Tokenizer) -> None:
    """What is wrong with a batch is found out by whoever halves it."""
    echo = engine(EchoGraph(RuntimeError("a bad shape")), tokenizer)
    with pytest.raises(RuntimeError, match="a bad shape"):
        echo.forward(echo.tokenize(["rain"]))


def test_closing_frees_the_graph(tokenizer: Tokenizer) -> None:
    """The runtime's memory is given back."""
    graph = EchoGraph()
    engine(graph, tokenizer).close()
    assert graph.is_closed


def test_what_the_exporter_noted_is_what_clients_see() -> None:
    """Width, limit, Matryoshka training and the reason come through."""
    info = describe(CARD, "echo", "onnx", "float32", "a test")
    assert (info.dimensions, info.max_input_tokens, info.matryoshka, info.reason) == (2, 16, True, "a test")


def test_a_card_survives_being_written_down_and_a_strange_one_is_refused() -> None:
    """Cards of another make are not half understood."""
    assert ModelCard.from_json(CARD.to_json()) == CARD
    with pytest.raises(ValueError, match="unknown pooling mode"):
        ModelCard.from_json({**CARD.to_json(), "pooling": "weightedmean"})
    with pytest.raises(TypeError):
        ModelCard.from_json({**CARD.to_json(), "unheard_of": 1})


@pytest.mark.parametrize(("texts", "streams"), [(1, 2), (8, 2), (8, 1)])
def test_every_stream_says_when_it_is_free(texts: int, streams: int, tokenizer: Tokenizer) -> None:
    """As often as there are streams, those that got nothing included, also when a part fails."""
    for failure in (None, RuntimeError("no")):
        graph = EchoGraph(failure, streams=2)
        echo = engine(graph, tokenizer)
        freed = Semaphore(0)
        begun = echo.begin(echo.tokenize(["rain " * 9] * texts), streams, freed.release)
        assert all(freed.acquire(timeout=10) for _ in range(streams))
        assert not freed.acquire(blocking=False)
        assert begun.is_done()
        assert begun.streams == min(texts, streams)
        if failure is None:
            assert len(begun.vectors()) == texts
        else:
            with pytest.raises(RuntimeError):
                begun.vectors()
        echo.close()
