"""One scan for several questions: who asks while others are scanned for joins where they are.

It decides which piece is looked at next, and for whom; it does not know what the pieces are. A piece that was
brought from memory serves everybody who still misses it, and a question that came late gets what it missed
when the scan comes round (cooperative scans: Zukowski, Héman, Nes, Boncz, VLDB 2007). A lone question never
waits for company.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from typing import Generic, Protocol, TypeVar

P = TypeVar("P")
R = TypeVar("R")
Piece = TypeVar("Piece", contravariant=True)
Result = TypeVar("Result", covariant=True)


class Gatherer(Protocol[Piece, Result]):
    """What one thread finds for one question."""

    def add(self, piece: Piece) -> None:
        """Look at a piece."""

    def finish(self) -> Result:
        """Return what was found in all of them; nothing is added afterwards."""


class _Question(Generic[P, R]):
    """`missing` are the places of the pieces that no thread has taken for it, `working` the threads that have
    taken any and not yet told what they found."""

    def __init__(self, pieces: Sequence[P], begin: Callable[[], Gatherer[P, R]]) -> None:
        self.pieces, self.begin = pieces, begin
        self.missing = set(range(len(pieces)))
        self.working = 0
        self.found: list[R] = []
        self.error: BaseException | None = None
        self.answer: Future[list[R]] = Future()


_Gatherers = dict["_Question[P, R]", "Gatherer[P, R] | None"]


class SharedScan(Generic[P, R]):
    """Scans on at most `threads` threads of `executor`, which has as many."""

    def __init__(self, executor: Executor, threads: int) -> None:
        self._executor = executor
        self._threads = threads
        self._active: list[_Question[P, R]] = []
        self._workers = 0
        self._place = 0
        self._lock = threading.Lock()

    def ask(self, pieces: Sequence[P], begin: Callable[[], Gatherer[P, R]]) -> Future[list[R]]:
        """Have every piece, one at least, added once to some gatherer; returns what they find to come.

        Each thread that takes part calls `begin` for a gatherer of its own; an error of one is the answer's.
        Pieces at the same place of several questions should be the same, as far as it goes.
        """
        question = _Question(pieces, begin)
        with self._lock:
            self._active.append(question)
            wanted = min(self._threads, max(len(each.missing) for each in self._active))
            begun, self._workers = max(0, wanted - self._workers), max(wanted, self._workers)
        for _ in range(begun):
            self._executor.submit(self._work)
        return question.answer

    def _work(self) -> None:
        gatherers: _Gatherers[P, R] = {}
        while taken := self._take(gatherers):
            place, questions = taken
            for question in questions:
                self._add(question, place, gatherers)
            for question in [each for each in gatherers if not each.missing]:
                self._finish(question, gatherers.pop(question))
        for question, gatherer in gatherers.items():
            self._finish(question, gatherer)

    def _take(self, gatherers: _Gatherers[P, R]) -> tuple[int, list[_Question[P, R]]] | None:
        """Take the next place that anybody misses, for all who do; None: nobody misses anything."""
        with self._lock:
            self._active = [question for question in self._active if question.missing]
            if not self._active:
                self._workers -= 1
                return None
            places = max(len(question.pieces) for question in self._active)
            while True:
                place = self._place % places
                self._place = place + 1
                if questions := [each for each in self._active if place in each.missing]:
                    break
            for question in questions:
                question.missing.discard(place)
                if question not in gatherers:
                    gatherers[question] = None
                    question.working += 1
            return place, questions

    def _add(self, question: _Question[P, R], place: int, gatherers: _Gatherers[P, R]) -> None:
        try:
            gatherer = gatherers[question]
            if gatherer is None:
                gatherer = gatherers[question] = question.begin()
            gatherer.add(question.pieces[place])
        except BaseException as error:  # whoever asked must learn of it, and the others be served
            question.error = error
            with self._lock:  # or another thread, which is choosing a place, would look for one for ever
                question.missing.clear()

    def _finish(self, question: _Question[P, R], gatherer: Gatherer[P, R] | None) -> None:
        try:
            found = [gatherer.finish()] if gatherer is not None and question.error is None else []
        except BaseException as error:  # whoever asked must learn of it
            question.error, found = error, []
        with self._lock:
            question.found += found
            question.working -= 1
            is_last = not question.working
        if is_last and question.error is not None:
            question.answer.set_exception(question.error)
        elif is_last:
            question.answer.set_result(question.found)
