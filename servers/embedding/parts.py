"""How one batch is dealt out to cores that compute side by side, each a part of its own.

Pure. It decides the parts: texts of near lengths together, so that little is padding, and the work spread
evenly. It knows no engine; how many parts can be computed at once is told to it.
"""

from collections.abc import Sequence
from heapq import heapreplace
from itertools import pairwise
from typing import Final

WIDTH_STEP: Final = 4
"""Padded widths are multiples of this: a graph prepares itself once per new shape (5 to 20 ms measured).

With 2, batches of short texts have 1.7 % less padding and take nearly twice as many shapes.
"""

NARROW_TOKENS: Final = 32
WIDE_STEP: Final = 16
"""Above NARROW_TOKENS, widths are multiples of this.

In half precision OpenVINO adds up some other widths in another order, so that one text in 40 moved by up to
6e-4 with what shared its batch; at these widths its vector stays the same to the bit.
"""

PART_COST_TOKENS: Final = 16
"""What a part costs beside its tokens, in tokens: at 384 dimensions 2 ms of a core that makes 7 in a ms."""


def padded_width(longest: int) -> int:
    """Return the width, in tokens, that a part with a text of `longest` tokens is padded to."""
    step = WIDTH_STEP if longest <= NARROW_TOKENS else WIDE_STEP
    return -(-longest // step) * step


def deal(lengths: Sequence[int], streams: int) -> list[list[int]]:
    """Return the places of `lengths` (in tokens, at least one) in parts, the one with the most work first.

    No part is empty. Begun in this order, each as soon as one of `streams` is free, they are done about as
    soon as they can be.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    parts = _least_padding(order, lengths)
    ends = _makespan(parts, lengths, streams)
    while len(parts[0]) > 1:
        middle = len(parts[0]) // 2
        finer = _largest_first([parts[0][:middle], parts[0][middle:], *parts[1:]], lengths)
        sooner = _makespan(finer, lengths, streams)
        if sooner >= ends:
            break
        parts, ends = finer, sooner
    return parts


def _least_padding(order: Sequence[int], lengths: Sequence[int]) -> list[list[int]]:
    """Return `order`, shortest first, cut where that costs the least: only at changes of the width."""
    widths = [padded_width(lengths[place]) for place in order]
    cuts = [0, *(at for at in range(1, len(order)) if widths[at] != widths[at - 1]), len(order)]
    least, before = [0], [0]
    for stop in range(1, len(cuts)):
        width = widths[cuts[stop] - 1]
        costs = [least[start] + width * (cuts[stop] - cuts[start]) for start in range(stop)]
        best = min(range(stop), key=costs.__getitem__)
        least.append(costs[best] + PART_COST_TOKENS)
        before.append(best)
    chosen = [len(cuts) - 1]
    while chosen[-1] > 0:
        chosen.append(before[chosen[-1]])
    parts = [list(order[cuts[start] : cuts[stop]]) for stop, start in pairwise(chosen)]
    return _largest_first(parts, lengths)


def _largest_first(parts: list[list[int]], lengths: Sequence[int]) -> list[list[int]]:
    return sorted(parts, key=lambda part: _cost(part, lengths), reverse=True)


def _cost(part: Sequence[int], lengths: Sequence[int]) -> int:
    """Return the tokens that a part, shortest text first, is worth."""
    return padded_width(lengths[part[-1]]) * len(part) + PART_COST_TOKENS


def _makespan(parts: Sequence[Sequence[int]], lengths: Sequence[int], streams: int) -> int:
    """Return when the last part ends if each begins, in order, on the stream that is free first."""
    busy_until = [0] * streams
    for part in parts:
        heapreplace(busy_until, busy_until[0] + _cost(part, lengths))
    return max(busy_until)
