"""Products in the calling thread: the same numbers however the work is cut."""

import numpy as np
import pytest

from servers.memory.products import ALONE_PRODUCTS, products


@pytest.mark.parametrize(
    ("left", "right"), [(1, 1), (3, 5), (64, 300), (2, ALONE_PRODUCTS // 16), (0, 4), (4, 0)]
)
def test_every_row_meets_every_row(left: int, right: int) -> None:
    """Small and large products are those of a plain matrix product."""
    rng = np.random.default_rng(left + right)
    one, other = (rng.normal(size=(rows, 16)).astype(np.float32) for rows in (left, right))
    assert products(one, other) == pytest.approx(one @ other.T, abs=1e-5)
