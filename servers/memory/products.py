"""Products of a few vectors with a few others, in the thread that asks for them.

It decides how the work is cut; it does not know what the vectors mean. OpenBLAS takes more threads for larger
products, and those spin for a while after each, which costs more than they save where a group has some dozens
of rows.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

ALONE_PRODUCTS: Final = 1 << 18
"""Up to so many products OpenBLAS computes in the calling thread."""


def products(left: npt.NDArray[np.float32], right: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the product of every row of `left` (m, d) with every row of `right` (n, d), as (m, n)."""
    if left.size * len(right) <= ALONE_PRODUCTS:
        return left @ right.T
    found = np.empty((len(left), len(right)), dtype=np.float32)
    step = max(1, ALONE_PRODUCTS // max(1, left.size))
    for first in range(0, len(right), step):
        np.matmul(left, right[first : first + step].T, out=found[:, first : first + step])
    return found
