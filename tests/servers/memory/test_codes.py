"""The certificate of the first pass: no score is further from the truth than its bound says."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from servers.memory.codes import CHUNK_ROWS, Coding
from servers.memory.columns import unit
from servers.memory.float_codes import Float16Coding, Float32Coding
from servers.memory.int8_codes import Int8Coding

ROWS = 2 * CHUNK_ROWS
CODINGS: list[Coding] = [Int8Coding(), Float16Coding(), Float32Coding()]


def spiky(rng: np.random.Generator, rows: int, dimensions: int, spread: float) -> torch.Tensor:
    """Unit vectors from even (spread 0) to nearly one-hot (spread 8), which codes hit badly."""
    vectors = rng.normal(size=(rows, dimensions)) * np.exp(spread * rng.normal(size=(rows, dimensions)))
    return torch.from_numpy(unit(vectors.astype(np.float32)))


@pytest.mark.parametrize("coding", CODINGS, ids=lambda coding: coding.mode)
@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    dimensions=st.sampled_from([2, 3, 8, 64, 384, 768]),
    spread=st.sampled_from([0.0, 0.5, 2.0, 8.0]),
    relevance=st.sampled_from([0.0, 1e-3, 0.6, 1.0, 7.0, 1e6]),
    queries=st.integers(1, 6),
    rows=st.sampled_from([1, CHUNK_ROWS - 1, CHUNK_ROWS + 1, ROWS]),
)
def test_no_score_is_further_off_than_its_bound(
    coding: Coding, seed: int, dimensions: int, spread: float, relevance: float, queries: int, rows: int
) -> None:
    """|score - truth| <= relevance · ((1 + |r|)·|e| + |r|) + slack, in a growing and in a full block."""
    rng = np.random.default_rng(seed)
    vectors, asked = spiky(rng, rows, dimensions, spread), spiky(rng, queries, dimensions, spread)
    block = coding.block(held := torch.empty(ROWS, dimensions))
    held[:rows] = vectors
    for start in range(0, rows, 300):
        block.write(start, vectors[start : start + 300])
    bias = torch.from_numpy(rng.uniform(-1, 1, size=rows).astype(np.float32))
    encoded = coding.encode(asked)
    padded = block.scores(encoded, relevance, bias).double()
    scores = padded[:, :rows]
    truth = relevance * (asked.double() @ vectors.double().T) + bias.double()
    remainders = block.remainders.repeat_interleave(CHUNK_ROWS)[:rows].double()
    errors = encoded.errors[:, None].double()
    bound = relevance * ((1 + remainders) * errors + remainders) * 1.001
    assert padded.shape == (queries, math.ceil(rows / CHUNK_ROWS) * CHUNK_ROWS)
    assert bool((padded[:, rows:] == -math.inf).all())
    assert bool(((scores - truth).abs() <= bound + coding.slack(encoded, relevance, 1.0)).all())


def test_a_part_of_a_tile_scores_the_same_whether_packed_or_not() -> None:
    """Who looked at a tile before it was full may ask for a part of it when it is packed."""
    coding = Int8Coding()
    vectors = spiky(np.random.default_rng(1), ROWS, 64, 0.5)
    queries = coding.encode(spiky(np.random.default_rng(2), 3, 64, 0.5))
    growing, full = (coding.block(torch.empty(ROWS, 64)) for _ in range(2))
    growing.write(0, vectors[:-1])
    full.write(0, vectors)
    bias = torch.linspace(-1, 1, CHUNK_ROWS - 1)
    one, other = (block.scores(queries, 0.5, bias, CHUNK_ROWS) for block in (growing, full))
    assert torch.allclose(one, other, atol=1e-5)
    assert one.shape == (3, CHUNK_ROWS)


def test_hidden_rows_stay_hidden() -> None:
    """A bias of minus infinity gives minus infinity, in a block that grows and in a full one."""
    coding = Int8Coding()
    for rows in (ROWS - 1, ROWS):
        block = coding.block(torch.empty(ROWS, 8))
        block.write(0, spiky(np.random.default_rng(1), rows, 8, 0.5))
        bias = torch.zeros(rows)
        bias[5] = -math.inf
        scores = block.scores(coding.encode(torch.eye(8)[:2]), 0.5, bias)
        assert scores[:, 5].tolist() == [-math.inf, -math.inf]
        assert bool(scores[:, :rows][:, torch.arange(rows) != 5].isfinite().all())


def test_zero_vectors_score_their_bias() -> None:
    """A vector without a direction is similar to nothing."""
    coding = Int8Coding()
    block = coding.block(torch.empty(ROWS, 8))
    block.write(0, torch.zeros(ROWS, 8))
    scores = block.scores(coding.encode(torch.eye(8)[:1]), 1.0, torch.full((ROWS,), 0.25))
    assert scores.tolist() == [[0.25] * ROWS]
