"""Group commit: who shares a commit, what a waiter learns, and what ends the thread."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from servers.errors import InvalidRequest, Overloaded, RequestError, ShuttingDown, StorageFull
from servers.memory.group_commit import Diverged, GroupCommit

Answer = str | RequestError


class Recorder:
    """A commit that notes its groups and lets a test hold it, fail it, or answer for it."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.failure: Exception | None = None

    def commit(self, jobs: Sequence[str]) -> list[Answer]:
        """Commit as the test says; a job named "bad" is refused alone."""
        self.groups.append(list(jobs))
        self.entered.release()
        self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return [InvalidRequest("bad") if job == "bad" else job.upper() for job in jobs]

    async def has_begun(self) -> None:
        """Wait until the next group is being committed."""
        await asyncio.to_thread(self.entered.acquire)


Open = Callable[..., GroupCommit[str, str]]


@pytest.fixture
def recorder() -> Recorder:
    """A commit under control."""
    return Recorder()


@pytest.fixture
async def open_writer(recorder: Recorder) -> AsyncIterator[Open]:
    """Starts writers over the recorder; all are closed at the end."""
    opened: list[GroupCommit[str, str]] = []

    def start(queue_rows: int = 100, group_rows: int = 10) -> GroupCommit[str, str]:
        opened.append(GroupCommit(recorder.commit, queue_rows=queue_rows, group_rows=group_rows))
        return opened[-1]

    yield start
    recorder.gate.set()
    for writer in opened:
        await asyncio.to_thread(writer.close)


async def submitted(writer: GroupCommit[str, str], *jobs: str, rows: int = 1) -> "list[asyncio.Task[str]]":
    """Tasks that have queued their jobs, in order."""
    tasks = []
    for job in jobs:
        before = writer.depth
        tasks.append(asyncio.ensure_future(writer.submit(job, rows)))
        await asyncio.sleep(0)
        assert writer.depth >= before
    return tasks


async def test_all_that_comes_in_one_turn_shares_a_commit(open_writer: Open, recorder: Recorder) -> None:
    """The first of many to submit does not begin a commit of its own while the others are about to."""
    writer = open_writer()
    assert await asyncio.gather(*(writer.submit(job) for job in "abc")) == ["A", "B", "C"]
    assert recorder.groups == [["a", "b", "c"]]


async def test_a_lone_job_is_committed_at_once(open_writer: Open, recorder: Recorder) -> None:
    """Nobody else needs to come for a commit to begin."""
    assert await open_writer().submit("a") == "A"
    assert recorder.groups == [["a"]]


async def test_what_queues_during_a_commit_shares_the_next(open_writer: Open, recorder: Recorder) -> None:
    """All that arrived while one commit ran goes into one more commit, in order."""
    writer = open_writer()
    recorder.gate.clear()
    first = asyncio.ensure_future(writer.submit("a"))
    await recorder.has_begun()
    rest = await submitted(writer, "b", "c", "d")
    recorder.gate.set()
    assert await asyncio.gather(first, *rest) == ["A", "B", "C", "D"]
    assert recorder.groups == [["a"], ["b", "c", "d"]]


async def test_a_group_has_a_limit_but_takes_one_job_of_any_size(
    open_writer: Open, recorder: Recorder
) -> None:
    """Rows are counted, and a job larger than the limit goes alone."""
    writer = open_writer(group_rows=10)
    recorder.gate.clear()
    first = asyncio.ensure_future(writer.submit("a"))
    await recorder.has_begun()
    rest = [
        *await submitted(writer, "b", "c", rows=5),
        *await submitted(writer, "huge", rows=50),
        *await submitted(writer, "d"),
    ]
    recorder.gate.set()
    await asyncio.gather(first, *rest)
    assert recorder.groups == [["a"], ["b", "c"], ["huge"], ["d"]]


async def test_a_refused_job_fails_alone(open_writer: Open) -> None:
    """The error of one job is raised for its own waiter only."""
    writer = open_writer()
    answers = await asyncio.gather(writer.submit("bad"), writer.submit("a"), return_exceptions=True)
    assert isinstance(answers[0], InvalidRequest)
    assert answers[1] == "A"


@pytest.mark.parametrize("failure", [StorageFull("full"), ZeroDivisionError()])
async def test_a_failed_group_fails_its_waiters_and_no_others(
    open_writer: Open, recorder: Recorder, failure: Exception
) -> None:
    """Whatever a commit raises reaches everybody of its group; the next group is committed as ever."""
    writer = open_writer()
    recorder.failure = failure
    with pytest.raises(type(failure)):
        await writer.submit("a")
    recorder.failure = None
    assert await writer.submit("b") == "B"
    assert writer.is_alive()


async def test_a_divergence_ends_the_thread(open_writer: Open, recorder: Recorder) -> None:
    """When disk and index differ, nothing more is taken, and what waited is answered."""
    writer = open_writer()
    recorder.failure = Diverged("no longer the same")
    recorder.gate.clear()
    first = asyncio.ensure_future(writer.submit("a"))
    await recorder.has_begun()
    (second,) = await submitted(writer, "b")
    recorder.gate.set()
    with pytest.raises(Diverged):
        await first
    with pytest.raises(ShuttingDown):
        await second
    await asyncio.to_thread(writer.close)
    assert not writer.is_alive()
    with pytest.raises(ShuttingDown):
        await writer.submit("c")


async def test_a_full_queue_refuses_at_once(open_writer: Open, recorder: Recorder) -> None:
    """Beyond the limit nothing is queued, and the client is told when to come back."""
    writer = open_writer(queue_rows=3)
    recorder.gate.clear()
    first = asyncio.ensure_future(writer.submit("a"))
    await recorder.has_begun()
    waiting = await submitted(writer, "b", "c", "d")
    with pytest.raises(Overloaded) as caught:
        await writer.submit("e")
    assert caught.value.retry_after
    assert writer.depth == 3
    recorder.gate.set()
    assert await asyncio.gather(first, *waiting) == ["A", "B", "C", "D"]
    assert writer.depth == 0


async def test_a_departed_caller_does_not_stop_the_commit(open_writer: Open, recorder: Recorder) -> None:
    """Cancelling the waiter leaves the job in its place, and its neighbours get their answers."""
    writer = open_writer()
    recorder.gate.clear()
    first = asyncio.ensure_future(writer.submit("a"))
    await recorder.has_begun()
    gone, stays = await submitted(writer, "gone", "stays")
    first.cancel()
    gone.cancel()
    recorder.gate.set()
    assert await stays == "STAYS"
    assert recorder.groups == [["a"], ["gone", "stays"]]
    assert first.cancelled()


async def test_closing_commits_what_is_queued(open_writer: Open, recorder: Recorder) -> None:
    """Jobs that were taken are committed before the thread ends; later ones are refused."""
    writer = open_writer()
    recorder.gate.clear()
    first = asyncio.ensure_future(writer.submit("a"))
    await recorder.has_begun()
    (second,) = await submitted(writer, "b")
    closing = asyncio.ensure_future(asyncio.to_thread(writer.close))
    recorder.gate.set()
    await closing
    assert [await first, await second] == ["A", "B"]
    with pytest.raises(ShuttingDown):
        await writer.submit("c")
