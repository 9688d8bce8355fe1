"""Who goes into the next batch: lanes, fairness between clients, near lengths, and a budget.

Pure. Two lanes; within a lane clients take turns by the tokens they had computed, so that a client with
thousands of texts does not delay one with a single text. The text whose turn it is always goes in; texts of
the nearest lengths go with it while the padded size stays within the budget. It knows neither clocks nor
threads nor what a text is.
"""

from bisect import insort
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Final, Generic, Protocol, TypeVar

LOOK_AHEAD_BUDGETS: Final = 8
"""How many budgets' worth of the texts whose turn comes next are searched for near lengths."""

LOOK_AHEAD_TEXTS: Final = 2048
"""And how many texts at most: the search is repeated for every batch."""

BULK_EVERY: Final = 5
"""While both lanes wait, bulk ages with every interactive batch and goes fifth: slow, but never starved."""

MOST_WASTE: Final = 1.5
"""A batch ends before its padded size exceeds this multiple of the true one and `FREE_WASTE_TOKENS`."""

FREE_WASTE_TOKENS: Final = 64
"""Padding this small is cheaper than a batch of its own."""

_LEAST_STALE: Final = 64


class Waiting(Protocol):
    """One text in the queue."""

    @property
    def length(self) -> int:
        """Its true length in tokens, at least 1."""

    @property
    def bulk(self) -> bool:
        """Whether it waits in the bulk lane rather than in the interactive one."""

    @property
    def client(self) -> Hashable:
        """Whose text it is; a client's texts of one length leave in the order in which they came."""


W = TypeVar("W", bound=Waiting)


@dataclass(order=True, slots=True)
class _Entry(Generic[W]):
    """A text with its turn; `number` keeps equal turns in order of arrival."""

    turn: float
    number: int
    item: W = field(compare=False)


class Lane(Generic[W]):
    """Texts in fair order: self-clocked fair queueing (Golestani, INFOCOM 1994) in tokens, per client.

    A text's turn is the lane's clock, or its client's last turn if that is later, plus its length; the clock
    is the turn last served. So a newcomer goes before all but a text's worth of what a busy client has
    waiting, and as the clock only advances, every text's turn comes.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._heap: list[_Entry[W]] = []
        self._window: list[_Entry[W]] = []
        self._turns: dict[Hashable, float] = {}
        self._clock = 0.0
        self._number = 0

    def __len__(self) -> int:
        """Return how many texts wait, those that nobody wants any more included until they are met."""
        return len(self._heap) + len(self._window)

    def put(self, item: W) -> None:
        """Give a text its turn."""
        turn = max(self._clock, self._turns.get(item.client, 0.0)) + item.length
        self._turns[item.client] = turn
        self._number += 1
        heappush(self._heap, _Entry(turn, self._number, item))

    def take(self, budget_tokens: int, is_wanted: Callable[[W], bool]) -> list[W]:
        """Remove and return the next batch in fair order, or an empty list if nothing wanted waits."""
        self._fill_window(budget_tokens * LOOK_AHEAD_BUDGETS, is_wanted)
        if not self._window:
            self._turns.clear()
            return []
        chosen = choose([entry.item.length for entry in self._window], budget_tokens)
        batch = [self._window[place].item for place in sorted(chosen)]
        self._clock = self._window[0].turn
        self._window = [entry for place, entry in enumerate(self._window) if place not in chosen]
        self._forget_idle_clients()
        return batch

    def drain(self) -> list[W]:
        """Remove and return everything."""
        everything = [entry.item for entry in (*self._window, *self._heap)]
        self._heap, self._window = [], []
        self._turns.clear()
        return everything

    def _fill_window(self, window_tokens: int, is_wanted: Callable[[W], bool]) -> None:
        """Move the next texts into the window, in order; newcomers whose turn is earlier go in between."""
        self._window = [entry for entry in self._window if is_wanted(entry.item)]
        total = sum(entry.item.length for entry in self._window)
        while self._heap and (self._is_early(self._heap[0]) or self._has_room(total, window_tokens)):
            entry = heappop(self._heap)
            if is_wanted(entry.item):
                insort(self._window, entry)
                total += entry.item.length

    def _is_early(self, entry: _Entry[W]) -> bool:
        return bool(self._window) and entry < self._window[-1]

    def _has_room(self, total: int, window_tokens: int) -> bool:
        return not self._window or (total < window_tokens and len(self._window) < LOOK_AHEAD_TEXTS)

    def _forget_idle_clients(self) -> None:
        # A turn that the clock has passed says nothing any more; clients come and go for months.
        if len(self._turns) > _LEAST_STALE + 2 * len(self):
            self._turns = {client: turn for client, turn in self._turns.items() if turn > self._clock}


class Backlog(Generic[W]):
    """Two lanes of waiting texts; a batch is taken from one lane at a time."""

    def __init__(self) -> None:
        """Start empty."""
        self._interactive: Lane[W] = Lane()
        self._bulk: Lane[W] = Lane()
        self._interactive_streak = 0

    def __len__(self) -> int:
        """Return how many texts wait, those that nobody wants any more included until they are met."""
        return len(self._interactive) + len(self._bulk)

    def put(self, items: Iterable[W]) -> None:
        """Append texts to their lanes."""
        for item in items:
            (self._bulk if item.bulk else self._interactive).put(item)

    def take(self, budget_of: Callable[[bool], int], is_wanted: Callable[[W], bool]) -> list[W]:
        """Remove and return the next batch, or an empty list if nothing wanted waits.

        `budget_of` gives a lane's budget in padded tokens (True: bulk). The text whose turn it is always goes
        in, whatever its length; then those of the nearest lengths as long as `padded_tokens` stays within the
        budget. Texts that `is_wanted` refuses are dropped.
        """
        for lane in self._lanes_by_turn():
            batch = lane.take(budget_of(lane is self._bulk), is_wanted)
            if batch:
                self._count_turn(lane)
                return batch
        return []

    def drain(self) -> list[W]:
        """Remove and return everything."""
        return [*self._interactive.drain(), *self._bulk.drain()]

    def _lanes_by_turn(self) -> tuple[Lane[W], Lane[W]]:
        if self._interactive_streak >= BULK_EVERY - 1:
            return self._bulk, self._interactive
        return self._interactive, self._bulk

    def _count_turn(self, lane: Lane[W]) -> None:
        kept_bulk_waiting = lane is self._interactive and len(self._bulk) > 0
        self._interactive_streak = self._interactive_streak + 1 if kept_bulk_waiting else 0


def choose(lengths: Sequence[int], budget_tokens: int) -> set[int]:
    """Return the places of the first text and of those of the nearest lengths that fit the budget with it.

    Of equal nearness the earlier goes first. The first goes even if it exceeds the budget alone.
    """
    chosen: set[int] = set()
    longest = total = 0
    first = lengths[0]
    for place in sorted(range(len(lengths)), key=lambda each: abs(lengths[each] - first)):
        length = lengths[place]
        padded = max(longest, length) * (len(chosen) + 1)
        if chosen and (padded > budget_tokens or _is_wasteful(padded, total + length)):
            break
        chosen.add(place)
        longest, total = max(longest, length), total + length
    return chosen


def padded_tokens(batch: Sequence[Waiting]) -> int:
    """Return what a batch costs when every text is padded to the longest: longest · texts."""
    return max((item.length for item in batch), default=0) * len(batch)


def _is_wasteful(padded: int, total: int) -> bool:
    return padded > MOST_WASTE * total + FREE_WASTE_TOKENS
