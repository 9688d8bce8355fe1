"""Group commit: one thread that takes whatever queued up while it was committing, and commits it as one.

It decides which jobs share a commit and when their waiters learn of it; it does not know what a job writes.
A lone job never waits for company; under load every sync carries all that arrived during the last one.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from servers.errors import Overloaded, RequestError, ShuttingDown

log = logging.getLogger(__name__)

J = TypeVar("J")
R = TypeVar("R")

GROUP_ROWS = 256
"""Most rows that share a sync: enough to make its cost vanish, few enough not to wait long for each other."""

RETRY_S = 0.25
"""When to come back to a full queue, in seconds: some dozens of commits later."""


class Diverged(Exception):
    """What is on the disk and what is shown no longer agree; only a restart mends that."""


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[J, R]):
    job: J
    rows: int
    done: "asyncio.Future[R]"
    loop: asyncio.AbstractEventLoop


class GroupCommit(Generic[J, R]):
    """Runs `commit` on groups of jobs in one named thread, from construction until `close`.

    `commit` returns one result or RequestError per job, in order, or raises: then every job of the group
    gets that error and the thread goes on, except after `Diverged`, which ends it. A group holds at most
    `group_rows` rows, one job at least; at most `queue_rows` rows wait. `on_commit`, called in
    that thread, is told the rows and the seconds of every group.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[J]], Sequence[R | RequestError]],
        *,
        queue_rows: int,
        group_rows: int = GROUP_ROWS,
        on_commit: Callable[[int, float], None] | None = None,
    ) -> None:
        self._commit = commit
        self._on_commit = on_commit
        self._queue_rows = queue_rows
        self._group_rows = group_rows
        self._queue: deque[_Waiting[J, R]] = deque()
        self._queued_rows = 0
        self._is_closing = False
        self._waking: set[asyncio.AbstractEventLoop] = set()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="memory-writer", daemon=True)
        self._thread.start()

    async def submit(self, job: J, rows: int = 1) -> R:
        """Have a job of that many rows committed and return its result once it is on the disk.

        Cancelling the caller does not withdraw the job: a client that goes away mid-commit leaves a whole
        memory or, if it never came this far, none. Raises what the job raised, Overloaded, or ShuttingDown.
        """
        loop = asyncio.get_running_loop()
        waiting: _Waiting[J, R] = _Waiting(job, rows, loop.create_future(), loop)
        with self._changed:
            if self._is_closing or not self._thread.is_alive():
                raise ShuttingDown("The memory store takes no more changes: it is closing.")
            if self._queue and self._queued_rows + rows > self._queue_rows:
                raise Overloaded(
                    f"{self._queued_rows} memories wait to be written, as many as may; nothing was queued.",
                    details={"depth": self._queued_rows, "limit": self._queue_rows},
                    retry_after=RETRY_S,
                )
            self._queue.append(waiting)
            self._queued_rows += rows
            if loop not in self._waking:
                # After all that is ready to run: whoever submits in the same turn shares the commit.
                self._waking.add(loop)
                loop.call_soon(self._wake, loop)
        return await waiting.done

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._changed:
            self._waking.discard(loop)
            self._changed.notify()

    @property
    def depth(self) -> int:
        """Rows that wait for their commit."""
        return self._queued_rows

    def is_alive(self) -> bool:
        """Say whether the thread runs."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Commit what is queued, then end the thread; blocks until it has ended."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        is_sound = True
        while is_sound and (group := self._next_group()):
            is_sound = self._commit_group(group)
        with self._changed:
            self._is_closing = True
            left = list(self._queue)
            self._queue.clear()
        _deliver([(waiting, ShuttingDown("The memory store has stopped.")) for waiting in left])

    def _next_group(self) -> list[_Waiting[J, R]]:
        """Wait for work; an empty group says that there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._is_closing)
            group: list[_Waiting[J, R]] = []
            rows = 0
            while self._queue and (not group or rows + self._queue[0].rows <= self._group_rows):
                group.append(self._queue.popleft())
                rows += group[-1].rows
            self._queued_rows -= rows
            return group

    def _commit_group(self, group: list[_Waiting[J, R]]) -> bool:
        is_sound = True
        began = time.monotonic()
        answers: Sequence[R | BaseException]
        try:
            answers = self._commit([waiting.job for waiting in group])
        except (
            Exception
        ) as error:  # whatever it is, its waiters must learn of it and the others must be served
            if not isinstance(error, RequestError):
                log.exception("a group of %d changes failed", len(group))
            is_sound = not isinstance(error, Diverged)
            answers = [error] * len(group)
        if self._on_commit is not None:
            self._on_commit(sum(waiting.rows for waiting in group), time.monotonic() - began)
        _deliver(list(zip(group, answers, strict=True)))
        return is_sound


def _deliver(answers: Sequence[tuple[_Waiting[J, R], R | BaseException]]) -> None:
    """Hand the answers to their loops, with one wake-up per loop."""
    loops = {waiting.loop for waiting, _ in answers}
    for loop in loops:
        mine = [(waiting.done, answer) for waiting, answer in answers if waiting.loop is loop]
        try:
            loop.call_soon_threadsafe(_settle, mine)
        except RuntimeError:  # the loop has closed: nobody waits any more
            log.info("%d changes were written after their clients had gone", len(mine))


def _settle(answers: Sequence[tuple["asyncio.Future[R]", R | BaseException]]) -> None:
    for done, answer in answers:
        if done.done():
            continue
        if isinstance(answer, BaseException):
            done.set_exception(answer)
        else:
            done.set_result(answer)
