"""launcher.notify: what a datagram says, and whom it is believed from."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.notify import Notification, NotifySocket, parse_notification


@given(st.binary(max_size=300))
def test_any_datagram_is_survived(datagram: bytes) -> None:
    """No bytes raise, and numbers are finite and in range."""
    said = parse_notification(datagram)
    assert said.progress is None or 0 <= said.progress <= 1
    assert said.extend_s is None or 0 <= said.extend_s <= 86400


def test_every_key_of_the_contract() -> None:
    """All keys of launcher.md section 6 are understood together."""
    datagram = (
        b"READY=1\nSTOPPING=1\nWATCHDOG=1\nSTATUS=loading\nEXTEND_TIMEOUT_USEC=1500000\n"
        b"X_LUCID_PHASE=load-model\nX_LUCID_PROGRESS=0.25\nX_LUCID_DEVICE=cuda:0\nMAINPID=1"
    )
    assert parse_notification(datagram) == Notification(
        True, True, True, "loading", "load-model", 0.25, "cuda:0", 1.5
    )


@pytest.mark.parametrize("value", [b"nan", b"inf", b"", b"x", b"1e999"])
def test_bad_numbers_are_left_out(value: bytes) -> None:
    """A number that is none says nothing."""
    said = parse_notification(b"X_LUCID_PROGRESS=" + value + b"\nEXTEND_TIMEOUT_USEC=" + value)
    assert (said.progress, said.extend_s) == (None, None)


def test_text_cannot_carry_control_characters() -> None:
    """A terminal that shows the status gets no escape sequences."""
    assert parse_notification(b"STATUS=a\x1b[2Jb").status == "a [2Jb"


_STRANGER = "import socket, sys; socket.socket(1, 2).sendto(b'STATUS=stranger', sys.argv[1])"


def send_from_another_session(address: str) -> None:
    """A datagram from a process that is not of our session."""
    subprocess.run([sys.executable, "-c", _STRANGER, address], start_new_session=True, check=True)


@pytest.fixture
async def heard(tmp_path: Path) -> AsyncIterator[tuple[NotifySocket, asyncio.Queue[Notification]]]:
    """A notify socket and what it believed."""
    queue: asyncio.Queue[Notification] = asyncio.Queue()
    opened = NotifySocket(tmp_path / "n1", queue.put_nowait)
    yield opened, queue
    opened.close()
    assert not (tmp_path / "n1").exists()


async def test_ready_is_remembered_before_its_datagram_is_taken(tmp_path: Path) -> None:
    """Whoever has the socket when its reader dies just then hears it again; later words come after it."""
    heard: asyncio.Queue[Notification] = asyncio.Queue()
    again: list[bytes] = []

    def die() -> None:
        again.append(opened_again.recv(100, socket.MSG_PEEK))

    opened = NotifySocket(tmp_path / "n1", heard.put_nowait, remember=die)
    opened_again = socket.socket(fileno=os.dup(opened.fileno()))
    opened.session = os.getsid(0)
    with opened_again, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        for word in (b"STATUS=nearly", b"READY=1", b"STATUS=at work"):
            sender.sendto(word, opened.address)
        said = [await heard.get() for _ in range(3)]
        with pytest.raises(BlockingIOError):
            opened_again.recv(100)
    opened.close()
    assert again == [b"READY=1"]
    assert [each.status for each in said] == ["nearly", None, "at work"]


async def test_only_the_childs_session_is_believed(
    heard: tuple[NotifySocket, asyncio.Queue[Notification]],
) -> None:
    """A datagram from another session is dropped; from the child's it counts; descriptors are not kept."""
    opened, queue = heard
    before = set(os.listdir("/proc/self/fd"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(opened.address)
        opened.session = os.getsid(0)
        send_from_another_session(opened.address)
        socket.send_fds(sender, [b"STATUS=ours\nFDSTORE=1"], [sender.fileno()])
        said = await queue.get()
    assert said.status == "ours"
    assert queue.empty()
    assert set(os.listdir("/proc/self/fd")) == before
