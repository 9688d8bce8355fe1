"""One scan for several questions: each sees every piece once, wherever it joined."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.memory.shared_scan import SharedScan


class Noting:
    """Notes its pieces; "bad" is refused, and a piece may be held by a gate."""

    def __init__(self, held: "Gate | None" = None) -> None:
        self.pieces: list[str] = []
        self.held = held

    def add(self, piece: str) -> None:
        """Note a piece."""
        if piece == "bad":
            raise ValueError(piece)
        self.pieces.append(piece)
        if self.held is not None:
            self.held.pass_through(piece)

    def finish(self) -> list[str]:
        """What was noted."""
        return self.pieces


class Gate:
    """Holds whoever comes with one piece until it is opened."""

    def __init__(self, piece: str) -> None:
        self.piece = piece
        self.reached, self.opened = threading.Event(), threading.Event()

    def pass_through(self, piece: str) -> None:
        """Wait, with that piece."""
        if piece == self.piece:
            self.reached.set()
            self.opened.wait()


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    """One thread, so that the order is certain."""
    with ThreadPoolExecutor(1) as made:
        yield made


def test_a_lone_question_sees_all_pieces_in_order(executor: ThreadPoolExecutor) -> None:
    """Nobody else needs to ask."""
    scan: SharedScan[str, list[str]] = SharedScan(executor, 1)
    assert scan.ask("abcd", Noting).result() == [["a", "b", "c", "d"]]


def test_who_comes_late_joins_where_the_scan_is(executor: ThreadPoolExecutor) -> None:
    """What it missed is looked at when the scan comes round; a shorter question ends sooner."""
    scan: SharedScan[str, list[str]] = SharedScan(executor, 1)
    gate = Gate("b")
    first = scan.ask("abcd", lambda: Noting(gate))
    gate.reached.wait()
    late, short = scan.ask("abcde", Noting), scan.ask("abc", Noting)
    gate.opened.set()
    assert first.result() == [["a", "b", "c", "d"]]
    assert late.result() == [["c", "d", "e", "a", "b"]]
    assert short.result() == [["c", "a", "b"]]


def test_an_error_reaches_only_the_question_that_causes_it(executor: ThreadPoolExecutor) -> None:
    """Its other pieces are not looked at; those who share the scan, and who come later, are served."""
    scan: SharedScan[str, list[str]] = SharedScan(executor, 1)
    gate = Gate("a")
    first = scan.ask("abc", lambda: Noting(gate))
    gate.reached.wait()
    broken = scan.ask(["x", "bad", "y"], Noting)
    gate.opened.set()
    assert first.result() == [["a", "b", "c"]]
    with pytest.raises(ValueError, match="bad"):
        broken.result()
    assert scan.ask("ab", Noting).result() in ([["a", "b"]], [["b", "a"]])


@pytest.mark.parametrize("fails", [lambda: Noting().add("bad"), lambda: 1 / 0])
def test_a_gatherer_that_cannot_begin_is_an_error(
    executor: ThreadPoolExecutor, fails: Callable[[], Noting]
) -> None:
    """Whoever asked hears of it."""
    scan: SharedScan[str, list[str]] = SharedScan(executor, 1)
    with pytest.raises((ValueError, ZeroDivisionError)):
        scan.ask("abc", fails).result()


@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=12),
    threads=st.integers(1, 4),
)
def test_every_piece_is_seen_exactly_once(sizes: list[int], threads: int) -> None:
    """By some gatherer of each question, however many ask at once and on however many threads."""
    with ThreadPoolExecutor(threads) as executor:
        scan: SharedScan[str, list[str]] = SharedScan(executor, threads)
        asked = [scan.ask([str(place) for place in range(size)], Noting) for size in sizes]
        for size, answer in zip(sizes, asked, strict=True):
            found = [piece for part in answer.result() for piece in part]
            assert sorted(found, key=int) == [str(place) for place in range(size)]
