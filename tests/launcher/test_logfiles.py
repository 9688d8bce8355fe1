"""launcher.logs.line_format and logfiles: every byte of output becomes a line on disk, whatever it is."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.logfiles import LogFile
from launcher.logs.line_format import LineSplitter, format_line, stamp
from launcher.output import OutputReader


@given(chunks=st.lists(st.binary(max_size=40)), limit=st.integers(4, 16))
def test_splitter_loses_and_invents_nothing(chunks: list[bytes], limit: int) -> None:
    """Whatever the chunks, the pieces put together are the lines, and none is over the limit."""
    splitter = LineSplitter(limit)
    pieces = [piece for chunk in chunks for piece in splitter.feed(chunk)] + splitter.flush()
    lines: list[bytes] = []
    for text, is_continued in pieces:
        assert len(text) <= limit
        if is_continued:
            lines[-1] += text
        else:
            lines.append(text)
    expected = b"".join(chunks).split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    assert [line.rstrip(b"\r") for line in lines] == [line.rstrip(b"\r") for line in expected]


def test_split_keeps_characters_whole() -> None:
    """A long line is not cut inside a character."""
    pieces = LineSplitter(5).feed("ääää\n".encode())
    assert [text.decode() for text, _ in pieces] == ["ää", "ää"]
    assert [is_continued for _, is_continued in pieces] == [False, True]


def test_form_of_a_line() -> None:
    """Time, stream and text as the contract says; what is not UTF-8 is escaped."""
    assert stamp(0.000001) == "1970-01-01T00:00:00.000001Z"
    line = format_line(stamp(0), "stderr", b"caf\xc3\xa9 \xff", True)
    assert line == "1970-01-01T00:00:00.000000Z stderr+ | café \\xff\n".encode()


def test_rotation_keeps_the_newest(tmp_path: Path) -> None:
    """Files never pass the size, the oldest falls off, and the order is right."""
    log = LogFile(tmp_path / "logs" / "a.log", 100, 2)
    for number in range(40):
        log.write([b"%02d %s\n" % (number, b"x" * 20)])
    log.close()
    files = [tmp_path / "logs" / name for name in ("a.log.2", "a.log.1", "a.log")]
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == ["a.log", "a.log.1", "a.log.2"]
    assert all(path.stat().st_size <= 100 for path in files)
    numbers = [int(line[:2]) for path in files for line in path.read_text().splitlines()]
    assert numbers == list(range(numbers[0], 40))


def test_without_backups_the_file_starts_anew(tmp_path: Path) -> None:
    """`backups: 0` keeps one file."""
    log = LogFile(tmp_path / "a.log", 50, 0)
    for _ in range(9):
        log.write([b"x" * 20 + b"\n"])
    log.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a.log"]


def test_full_disk_drops_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOSPC is counted, never raised; the count is written when there is room again."""
    log = LogFile(tmp_path / "a.log", 10_000, 1)
    log.write([b"before\n"])
    with monkeypatch.context() as broken:
        broken.setattr(os, "write", raise_no_space)
        log.write([b"one\n", b"two\n"])
    assert (log.dropped, log.last_error) == (2, "No space left on device")
    log.write([b"after\n"])
    log.close()
    lines = (tmp_path / "a.log").read_text().splitlines()
    assert (lines[0], lines[2]) == ("before", "after")
    assert "lucid | 2 lines were lost" in lines[1]


def raise_no_space(fd: int, data: bytes) -> int:
    """A disk without room."""
    raise OSError(28, "No space left on device")


async def read_all(tmp_path: Path, stdout: bytes, stderr: bytes) -> tuple[list[str], OutputReader]:
    """What a reader makes of two pipes that were written and closed."""
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    log = LogFile(tmp_path / "a.log", 10_000_000, 1)
    ended = asyncio.Event()
    reader = OutputReader(out_read, err_read, log, ended.set)
    for fd, data in ((out_write, stdout), (err_write, stderr)):
        os.write(fd, data)
        os.close(fd)
    await ended.wait()
    log.close()
    return (tmp_path / "a.log").read_text().splitlines(), reader


async def test_reader_takes_the_last_unfinished_line(tmp_path: Path) -> None:
    """A last line without a newline is complete in the file, and stderr's end is at hand."""
    lines, reader = await read_all(tmp_path, b"one\ntwo", b"\n".join(b"e%d" % n for n in range(30)))
    assert [line.split(" ", 1)[1] for line in lines if "stdout" in line] == ["stdout | one", "stdout | two"]
    assert list(reader.stderr_tail) == [f"e{number}" for number in range(10, 30)]
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z std(out|err) \| ", line) for line in lines)


async def test_close_reads_what_is_left_without_waiting(tmp_path: Path) -> None:
    """Closing drains the pipe even while somebody still holds its other end."""
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    log = LogFile(tmp_path / "a.log", 10_000_000, 1)
    reader = OutputReader(out_read, err_read, log, lambda: None)
    os.write(out_write, b"left\n" * 1000 + b"end")
    reader.close()
    log.close()
    assert (tmp_path / "a.log").read_text().count("stdout | left") == 1000
    assert (tmp_path / "a.log").read_text().endswith("stdout | end\n")
    os.close(out_write)
    os.close(err_write)
