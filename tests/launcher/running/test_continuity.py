"""launcher.running.continuity: what is written when, what the guardian keeps, and who may be reaped."""

from __future__ import annotations

import asyncio
import errno
import os
from dataclasses import replace

import pytest

from launcher.running.journal import JournalFile, read_journal
from tests.launcher.running.bench import Bench, Post, listening


def kept(post: Post) -> list[tuple[str, str]]:
    """What the guardian was told to keep and to drop since the last call."""
    return [(word["do"], word["name"]) for word in post.words() if word["do"] in ("keep", "drop")]


async def test_changes_that_come_together_are_written_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One writing, soon, with all of them in it."""
    written = asyncio.Event()
    count = 0
    write = JournalFile.write

    def note(journal: JournalFile, *arguments: object) -> None:
        nonlocal count
        count += 1
        write(journal, *arguments)  # type: ignore[arg-type]  # passed on as they came
        written.set()

    monkeypatch.setattr(JournalFile, "write", note)
    post = bench.supervisor()
    for number in range(5):
        post.stack.publisher.revision = number
        post.continuity.changed()
    await written.wait()
    assert count == 1
    state = read_journal(bench.journal)[0].state
    assert state is not None
    assert state["revision"] == 4
    written.clear()
    post.continuity.changed()
    await written.wait()
    assert count == 2


async def test_sockets_are_kept_for_as_long_as_their_child_is_there(bench: Bench) -> None:
    """Once each, under the child's name, and again when they are others."""
    post = bench.supervisor()
    child = post.add("a")
    first, second = listening(), listening()
    child.prepared = replace(child.prepared, sockets=(first,))
    child.hear()
    post.continuity.write()
    assert sorted(kept(post)) == [("keep", "listen a"), ("keep", "notify a")]
    post.continuity.write()
    assert kept(post) == []
    child.prepared = replace(child.prepared, sockets=(first, second))
    post.continuity.write()
    assert kept(post) == [("keep", "listen a")]
    post.stack.forget(["a"])
    post.stack.drop_what_has_left()
    post.continuity.write()
    assert sorted(kept(post)) == [("drop", "listen a"), ("drop", "notify a")]


async def test_what_others_keep_is_not_dropped(bench: Bench) -> None:
    """Lock, notes and the control socket are no child's."""
    post = bench.supervisor()
    post.parent.keep("lock", [0])
    post.words()
    post.continuity.write()
    assert kept(post) == []


async def test_nobody_is_reaped_whose_end_could_not_be_written(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is said, and costs no exit code: the guardian keeps it until there is room."""
    post = bench.supervisor()
    released: list[list[int]] = []
    monkeypatch.setattr(post.parent, "release", lambda needed=(): released.append(list(needed)))
    post.add("a", state="ready", pid=77, generation=1)
    with monkeypatch.context() as full:

        def refuse(*_: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        full.setattr(JournalFile, "write", refuse)
        post.continuity.write()
    assert released == []
    assert post.said == ["the journal could not be written: [Errno 28] No space left on device"]
    post.continuity.write()
    assert released == [[77]]
