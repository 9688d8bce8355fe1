"""launcher.running.succession: a supervisor whose guardian was killed becomes one that holds the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from launcher.output import OutputReader
from launcher.running.journal import read_journal
from launcher.running.succession import become_guardian
from launcher.wire import close_fds
from tests.launcher.running.bench import NONCE, Bench, listening


class Replaced(Exception):
    """This process would be another program now."""


@pytest.fixture
def left() -> Iterator[subprocess.Popen[bytes]]:
    """A program of the stack that did not die with the guardian."""
    argv = [sys.executable, "-S", "-c", "import signal; print(flush=True); signal.pause()"]
    environ = {"LUCID_NONCE": f"{NONCE}.01"}
    with subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


async def test_it_ends_what_is_left_and_hands_on_what_it_holds(
    bench: Bench, left: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lives is ended, what was said last is read, the stack written down, and the sockets stay open."""
    post = bench.supervisor()
    child = post.add("a", state="ready", desired_up=True, generation=3, pid=77)
    held = listening()
    child.prepared = replace(child.prepared, sockets=(held,))
    (reader, writer), (empty, closed) = os.pipe(), os.pipe()
    child.output = OutputReader(reader, empty, child.log, lambda: None)
    os.write(writer, b"last words\n")
    close_fds([writer, closed])

    def execute(program: str, words: Sequence[str]) -> None:
        assert program == sys.executable
        raise Replaced(*words)

    monkeypatch.setattr(os, "execv", execute)
    with pytest.raises(Replaced) as caught:
        become_guardian(post.parent, post.stack, post.continuity, ["--config", "x"], post.said.append)
    assert left.wait() == -9
    *words, kept = caught.value.args
    assert words == [sys.executable, "-m", "launcher.guardian", "--config", "x", "--resume"]
    assert json.loads(kept)["listen a"] == [held.fileno()]
    assert all(os.get_inheritable(fd) for fds in json.loads(kept).values() for fd in fds)
    assert any(f"pid {left.pid}" in line for line in post.said)
    assert (bench.folder / "a.log").read_text().endswith("| last words\n")
    state = read_journal(bench.journal)[0].state
    assert state is not None
    assert state["children"][0]["life"]["generation"] == 3
