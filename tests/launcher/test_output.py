"""launcher.output and spool: a reader that is killed anywhere leaves a log with every line in it, once."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from launcher import logfiles
from launcher.logfiles import LogFile
from launcher.output import OutputReader, Stream, open_spools
from launcher.spool import Spool

CHUNKS = [b"one\ntwo\nthr", b"ee\n" + b"x" * 70_000, b"y" * 10 + b"\nfour\n", b"\n\nfive", b"six\r\nseven"]
"""Lines that end within a read, across reads, over the limit of a line, empty, and not at all."""
_WATCHED = ("launcher/output.py", "launcher/spool.py", "launcher/logfiles.py")


class Killed(BaseException):
    """Stands for SIGKILL: nothing below catches it."""


class DeathAtStep:
    """Raises Killed before the nth line of the watched modules."""

    def __init__(self, step: int) -> None:
        self.left = step

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.endswith(_WATCHED):
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                raise Killed
        return self


class Life:
    """A log and the memory files that outlive its readers."""

    def __init__(self, folder: Path, max_size_bytes: int) -> None:
        self.path = folder / "a.log"
        self._size = max_size_bytes
        first = Spool()
        self._kept = os.dup(first.fileno())
        first.close()
        self._other = os.dup(Spool().fileno())
        self.pipe, self.writer = os.pipe()
        os.set_blocking(self.pipe, False)

    def successor(self) -> Stream:
        """What a new process begins with."""
        log = LogFile(self.path, self._size, 50)
        out, _ = open_spools(log, [os.dup(self._kept), os.dup(self._other)])
        stream = Stream("stdout", log, out)
        stream.resume()
        return stream

    def lines(self) -> list[str]:
        """What the log says, over all its files; the pieces of a long line are put together."""
        backups = sorted(self.path.parent.glob("a.log.*"), key=lambda path: -int(path.suffix[1:]))
        text = b"".join(path.read_bytes() for path in [*backups, self.path])
        lines: list[str] = []
        for line in text.decode().splitlines():
            head, _, rest = line.partition(" | ")
            assert head.endswith(("stdout", "stdout+")), line
            if head.endswith("+"):
                lines[-1] += rest
            else:
                lines.append(rest)
        return lines

    def close(self) -> None:
        """Give everything back."""
        for fd in (self._kept, self._other, self.pipe, self.writer):
            os.close(fd)


@pytest.fixture
def make_life(tmp_path: Path) -> Iterator[Callable[[int], Life]]:
    """Make logs in folders of their own."""
    lives: list[Life] = []

    def make(max_size_bytes: int) -> Life:
        folder = tmp_path / str(len(lives))
        folder.mkdir()
        lives.append(Life(folder, max_size_bytes))
        return lives[-1]

    yield make
    for life in lives:
        life.close()


def run(life: Life, step: int) -> bool:
    """Bring the chunks into the log by a reader that dies at a step, and by its successor; was it killed?"""
    chunks = list(CHUNKS)
    stream: Stream | None = None
    killed = False
    death = DeathAtStep(step)
    while True:
        try:
            if not killed:
                sys.settrace(death)
            try:
                if stream is None:
                    stream = life.successor()
                drain(stream, life.pipe)
                if not chunks:
                    stream.finish()
                    return killed
            finally:
                sys.settrace(None)
            os.write(life.writer, chunks.pop(0)[:60_000])
        except Killed:
            killed, stream = True, None


def drain(stream: Stream, pipe: int) -> None:
    """Take all that the pipe has."""
    try:
        while stream.pump(pipe) is not None:
            pass
    except BlockingIOError:
        return


@pytest.mark.parametrize("max_size_bytes", [10_000_000, 150])
def test_death_at_every_step_loses_nothing(make_life: Callable[[int], Life], max_size_bytes: int) -> None:
    """Wherever a reader is killed, the next one brings every line into the log, whole and once."""
    undisturbed = make_life(max_size_bytes)
    assert not run(undisturbed, 0)
    expected = undisturbed.lines()
    text = b"".join(chunk[:60_000] for chunk in CHUNKS).decode()
    assert expected == text.replace("\r\n", "\n").split("\n")
    step = 1
    while run(life := make_life(max_size_bytes), step):
        assert life.lines() == expected, f"killed at step {step}"
        step += 1
    assert step > 100


def test_an_append_that_was_cut_off_is_made_again(
    make_life: Callable[[int], Life], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of an append that a killed reader left behind does not stay."""
    life = make_life(10_000)
    stream = life.successor()
    os.write(life.writer, b"first\n")
    drain(stream, life.pipe)
    write = os.write

    def half(fd: int, data: memoryview) -> int:
        write(fd, data[: len(data) // 2])
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(logfiles.os, "write", half)
        write(life.writer, b"second\nthird\n")
        with pytest.raises(Killed):
            drain(stream, life.pipe)
    drain(life.successor(), life.pipe)
    assert life.lines() == ["first", "second", "third"]


def test_memory_does_not_grow(make_life: Callable[[int], Life]) -> None:
    """What is in the log is not kept, though no read ever ends with a newline."""
    life = make_life(10_000_000)
    stream = life.successor()
    sizes = set()
    for _ in range(50):
        os.write(life.writer, b"x" * 3000 + b"\n" + b"y" * 100)
        drain(stream, life.pipe)
        sizes.add(os.fstat(life._kept).st_size)
    assert len(sizes) == 1


async def test_without_memory_the_output_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A spool that cannot take the output is given up, and no line is lost or doubled by that."""
    log = LogFile(tmp_path / "a.log", 10_000, 1)
    spools = open_spools(log, ())
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    ended = asyncio.Event()
    reader = OutputReader(out_read, err_read, log, ended.set, spools)
    os.write(out_write, b"one\ntw")
    assert reader._read(out_read)

    def refuse(*_: object, **__: object) -> int:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr("launcher.spool.os.splice", refuse)
    os.write(out_write, b"o\nthree\n")
    os.close(out_write)
    os.close(err_write)
    await ended.wait()
    text = [line.partition(" | ")[2] for line in (tmp_path / "a.log").read_text().splitlines()]
    assert text == ["one", "two", "three"]
    assert [spool.left() for spool in spools] == [b"", b""]
    for spool in spools:
        spool.close()
    log.close()
