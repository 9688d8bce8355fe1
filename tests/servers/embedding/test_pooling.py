"""Padding never reaches a vector, and every mode does what its name says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.embedding.engine import Tokens
from servers.embedding.parts import NARROW_TOKENS, WIDE_STEP, WIDTH_STEP
from servers.embedding.pooling import PoolingMode, pad, pool

HIDDEN = np.array([[[1, 5], [3, 1], [99, 99]], [[2, 2], [4, 4], [6, 0]]], dtype=np.float32)
LENGTHS = (2, 3)


def tokens(length: int) -> Tokens:
    """A text of `length` tokens."""
    return Tokens(np.arange(1, length + 1, dtype=np.int64), truncated=False)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8))
def test_ids_stand_at_the_left_and_the_mask_counts_them(lengths: list[int]) -> None:
    """Each row holds its own ids and then padding, up to a common width that is a multiple of the step."""
    ids, mask = pad([tokens(length) for length in lengths], pad_id=7)
    assert ids.shape == mask.shape
    step = WIDTH_STEP if max(lengths) <= NARROW_TOKENS else WIDE_STEP
    assert ids.shape[1] % step == 0
    assert 0 <= ids.shape[1] - max(lengths) < step
    assert mask.sum(axis=1).tolist() == lengths
    for row, length in enumerate(lengths):
        assert ids[row, :length].tolist() == list(range(1, length + 1))
        assert (ids[row, length:] == 7).all()


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("mean", [[2, 3], [4, 2]]),
        ("cls", [[1, 5], [2, 2]]),
        ("max", [[3, 5], [6, 4]]),
        ("mean_sqrt_len", [[4 / 2**0.5, 6 / 2**0.5], [12 / 3**0.5, 6 / 3**0.5]]),
        ("lasttoken", [[3, 1], [6, 0]]),
    ],
)
def test_each_mode_pools_a_text_s_own_tokens(mode: PoolingMode, expected: list[list[float]]) -> None:
    """What stands behind a text's last token is never looked at."""
    pooled = pool(HIDDEN, LENGTHS, mode)
    np.testing.assert_allclose(pooled, np.array(expected), rtol=1e-6)
    assert pooled.dtype == np.float32
    assert pooled.flags.c_contiguous


def test_a_wider_batch_gives_bit_for_bit_the_same_sum() -> None:
    """The order of the sum does not change with the padding."""
    chance = np.random.default_rng(5)
    narrow = chance.normal(size=(1, 9, 384)).astype(np.float32)
    wide = np.concatenate([narrow, chance.normal(size=(1, 55, 384)).astype(np.float32)], axis=1)
    assert (pool(narrow, [9], "mean") == pool(wide, [9], "mean")).all()
