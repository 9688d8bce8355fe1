"""Who goes into the next batch, how large it may be, and how fast the model has been lately.

Pure. It decides order and size only: the oldest text always goes in, texts of the nearest lengths go with it,
and the padded size stays within a token budget. It knows neither clocks nor threads nor what a text is.
"""

import math
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

LOOK_AHEAD_BUDGETS: Final = 8
"""How many budgets' worth of the oldest texts are searched for near lengths."""

BULK_EVERY: Final = 5
"""While both lanes wait, every fifth batch is bulk, so that bulk is slow but never starves."""

TARGET_BATCH_S: Final = 0.1
"""How long a batch should take at most: what a newcomer waits for behind a running batch."""

MIN_BUDGET_TOKENS: Final = 512
"""Below this a batch wastes more on overhead than it saves in waiting."""

MOST_WASTE: Final = 1.5
"""A batch ends before its padded size exceeds this multiple of the true one and `FREE_WASTE_TOKENS`."""

FREE_WASTE_TOKENS: Final = 64
"""Padding this small is cheaper than a batch of its own."""

_DECAY: Final = 0.9


class Waiting(Protocol):
    """One text in the queue."""

    @property
    def length(self) -> int:
        """Its true length in tokens, at least 1."""

    @property
    def bulk(self) -> bool:
        """Whether it waits in the bulk lane rather than in the interactive one."""


W = TypeVar("W", bound=Waiting)


class Backlog(Generic[W]):
    """Two lanes of waiting texts; batches are taken from one lane at a time, oldest first."""

    def __init__(self) -> None:
        """Start empty."""
        self._interactive: deque[W] = deque()
        self._bulk: deque[W] = deque()
        self._interactive_streak = 0

    def __len__(self) -> int:
        """Return how many texts wait, those that nobody wants any more included until they are met."""
        return len(self._interactive) + len(self._bulk)

    def put(self, item: W) -> None:
        """Append a text to its lane."""
        (self._bulk if item.bulk else self._interactive).append(item)

    def take(self, budget_tokens: int, is_wanted: Callable[[W], bool]) -> list[W]:
        """Remove and return the next batch, or an empty list if nothing wanted waits.

        The oldest wanted text of the lane always goes in, whatever its length; then those of the nearest
        lengths as long as `padded_tokens` stays within `budget_tokens`. Texts that `is_wanted` refuses are
        dropped.
        """
        for lane in self._lanes_by_turn():
            batch = _take_from(lane, budget_tokens, is_wanted)
            if batch:
                self._count_turn(lane)
                return batch
        return []

    def _lanes_by_turn(self) -> tuple[deque[W], deque[W]]:
        if self._interactive_streak >= BULK_EVERY - 1:
            return self._bulk, self._interactive
        return self._interactive, self._bulk

    def _count_turn(self, lane: deque[W]) -> None:
        kept_bulk_waiting = lane is self._interactive and bool(self._bulk)
        self._interactive_streak = self._interactive_streak + 1 if kept_bulk_waiting else 0

    def drain(self) -> list[W]:
        """Remove and return everything."""
        everything = [*self._interactive, *self._bulk]
        self._interactive.clear()
        self._bulk.clear()
        return everything


def _take_from(lane: deque[W], budget_tokens: int, is_wanted: Callable[[W], bool]) -> list[W]:
    window = _look_ahead(lane, budget_tokens * LOOK_AHEAD_BUDGETS, is_wanted)
    if not window:
        return []
    oldest = window[0].length
    by_nearness = sorted(range(len(window)), key=lambda place: (abs(window[place].length - oldest), place))
    chosen = _fill(window, by_nearness, budget_tokens)
    lane.extendleft(window[place] for place in range(len(window) - 1, -1, -1) if place not in chosen)
    return [window[place] for place in sorted(chosen)]


def _look_ahead(lane: deque[W], window_tokens: int, is_wanted: Callable[[W], bool]) -> list[W]:
    window: list[W] = []
    total = 0
    while lane and (not window or total < window_tokens):
        item = lane.popleft()
        if is_wanted(item):
            window.append(item)
            total += item.length
    return window


def _fill(window: list[W], by_nearness: list[int], budget_tokens: int) -> set[int]:
    chosen: set[int] = set()
    longest = total = 0
    for place in by_nearness:
        length = window[place].length
        padded = max(longest, length) * (len(chosen) + 1)
        if chosen and (padded > budget_tokens or _is_wasteful(padded, total + length)):
            break
        chosen.add(place)
        longest, total = max(longest, length), total + length
    return chosen


def _is_wasteful(padded: int, total: int) -> bool:
    return padded > MOST_WASTE * total + FREE_WASTE_TOKENS


def padded_tokens(batch: list[W]) -> int:
    """Return what a batch costs when every text is padded to the longest: longest · texts."""
    return max((item.length for item in batch), default=0) * len(batch)


class Throughput:
    """The model's recent speed in tokens/s: an exponentially weighted ratio of tokens to seconds.

    Weighing tokens and seconds apart lets large batches, which tell more about speed under load, count for
    more.
    """

    def __init__(self) -> None:
        """Start without knowing anything."""
        self._tokens = 0.0
        self._seconds = 0.0

    def update(self, tokens: int, seconds: float) -> None:
        """Take one batch into account."""
        self._tokens = self._tokens * _DECAY + tokens
        self._seconds = self._seconds * _DECAY + seconds

    @property
    def tokens_per_s(self) -> float | None:
        """The recent speed, or None before the first batch."""
        if self._seconds <= 0.0:
            return None
        return self._tokens / self._seconds


def budget_tokens(tokens_per_s: float | None, max_batch_tokens: int) -> int:
    """Return how many padded tokens the next batch may have, 1 to `max_batch_tokens`.

    A slow device gets smaller batches, about `TARGET_BATCH_S` long, so that nobody waits long behind one.
    """
    if tokens_per_s is None:
        return min(max_batch_tokens, MIN_BUDGET_TOKENS)
    return min(max_batch_tokens, max(MIN_BUDGET_TOKENS, math.ceil(tokens_per_s * TARGET_BATCH_S)))
