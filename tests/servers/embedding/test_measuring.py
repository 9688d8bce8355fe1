"""Measuring finds what is wrong with an engine, and gives each the same chance."""

from itertools import count

import numpy as np
import pytest

from servers.embedding.debug_engine import DebugEngine
from servers.embedding.engine import Tokens, Vectors
from servers.embedding.measuring import (
    ROUNDS,
    measure_accuracy,
    measure_speed,
    probe_vectors,
    rank_agreement,
)
from servers.embedding.probes import PROBES, SHORT_TEXTS
from servers.embedding.variants import REFERENCE, Measurement, Variant
from servers.embedding.vectors import normalise

OTHER = Variant("onnx", "float32")


class NoisyEngine(DebugEngine):
    """A debug engine that is a little wrong, or that lets a text's company show."""

    def __init__(self, noise: float = 0.0, leak: float = 0.0) -> None:
        """Add `noise` times the vector's length in a random direction, and `leak` times the batch's mean."""
        super().__init__()
        self._noise = noise
        self._leak = leak
        self._chance = np.random.default_rng(7)

    def forward(self, batch: list[Tokens]) -> Vectors:  # type: ignore[override]  # measured with lists only
        """Compute, a little wrong."""
        vectors = super().forward(batch)
        directions = normalise(self._chance.normal(size=vectors.shape).astype(np.float32))
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors = vectors + self._noise * lengths * directions
        return np.asarray(vectors + self._leak * vectors.mean(axis=0), dtype=np.float32)


@pytest.fixture(scope="module")
def reference() -> Vectors:
    """The probe vectors of the engine without a model."""
    return probe_vectors(DebugEngine())


def test_the_reference_agrees_with_itself(reference: Vectors) -> None:
    """Cosine and rank agreement are one, and nothing depends on the batch."""
    measured = measure_accuracy(REFERENCE, DebugEngine(), reference)
    assert measured.min_cosine > 0.99999
    assert measured.rank_agreement == 1.0
    assert measured.batch_delta < 1e-5
    assert reference.shape == (len(PROBES), 384)


def test_rows_come_in_the_order_of_the_probes(reference: Vectors) -> None:
    """Batches are formed by length, the result is not."""
    engine = DebugEngine()
    expected = normalise(engine.forward(engine.tokenize(PROBES)))
    np.testing.assert_allclose(reference, expected, atol=1e-6)


def test_wrong_vectors_show_in_the_cosine(reference: Vectors) -> None:
    """A tenth of noise costs about half a hundredth of cosine, and neighbours change places."""
    measured = measure_accuracy(OTHER, NoisyEngine(noise=0.1), reference)
    assert 0.99 < measured.min_cosine < 0.997
    assert measured.rank_agreement < 1.0


def test_company_that_shows_is_found(reference: Vectors) -> None:
    """An engine whose vectors depend on the batch is measured alone as well as in company."""
    assert measure_accuracy(OTHER, NoisyEngine(leak=0.05), reference).batch_delta > 1e-3


def test_rank_agreement_counts_shared_neighbours() -> None:
    """The same vectors agree fully; unrelated ones agree by chance only."""
    chance = np.random.default_rng(3)
    first, second = (normalise(chance.normal(size=(40, 64)).astype(np.float32)) for _ in range(2))
    assert rank_agreement(first, first) == 1.0
    assert rank_agreement(first, second) < 0.5


def test_every_engine_has_one_turn_per_round_and_the_median_counts() -> None:
    """Rates come from the clock alone; the first, preparing turn is left out."""
    ticks = count()
    engines = {REFERENCE: DebugEngine(), OTHER: DebugEngine()}
    measured = {variant: Measurement(variant, min_cosine=1.0) for variant in engines}
    measured[Variant("onnx", "int8")] = Measurement(Variant("onnx", "int8"), failure="not here")
    rounds: list[int] = []
    results = measure_speed(measured, engines, rounds.append, clock=lambda: float(next(ticks)))
    assert [each.texts_per_s for each in results] == [len(SHORT_TEXTS), len(SHORT_TEXTS), 0.0]
    assert [each.min_cosine for each in results] == [1.0, 1.0, 0.0]
    assert rounds == list(range(ROUNDS + 1))
    assert next(ticks) == 2 * 2 * (ROUNDS + 1)
