"""Questions of many threads, answered together: who asks while an answer is made shares the next.

It decides which questions are answered together; it does not know what they are. A lone question never waits
for company (flat combining: Hendler, Incze, Shavit, Tzafrir, SPAA 2010).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


class Combining(Generic[Q, A]):
    """Has `answer`, which returns one answer per question in order, called in `executor`, once at a time."""

    def __init__(self, answer: Callable[[Sequence[Q]], Sequence[A]], executor: Executor) -> None:
        self._answer = answer
        self._executor = executor
        self._waiting: list[tuple[Q, Future[A]]] = []
        self._is_answering = False
        self._lock = threading.Lock()

    def ask(self, question: Q) -> Future[A]:
        """Return the answer to come, or what answering this question alone raises."""
        mine: Future[A] = Future()
        with self._lock:
            self._waiting.append((question, mine))
            begins, self._is_answering = not self._is_answering, True
        if begins:
            self._executor.submit(self._run)
        return mine

    def _run(self) -> None:
        while together := self._next():
            self._settle(together)

    def _next(self) -> list[tuple[Q, Future[A]]]:
        with self._lock:
            together, self._waiting = self._waiting, []
            self._is_answering = bool(together)
            return together

    def _settle(self, together: Sequence[tuple[Q, Future[A]]]) -> None:
        try:
            answers = self._answer([question for question, _ in together])
        except BaseException as error:  # whoever asked must learn of it, and the others be answered
            if len(together) == 1:
                together[0][1].set_exception(error)
            else:
                for alone in together:
                    self._settle([alone])
            return
        for (_, asked), answer in zip(together, answers, strict=True):
            asked.set_result(answer)
