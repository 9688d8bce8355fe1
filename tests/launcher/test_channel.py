"""launcher.channel: a supervisor that does not read, or is gone, never stops the guardian."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Iterator

import pytest

import launcher.channel
from launcher.channel import Channel
from launcher.wire import Message, channel_pair, close_fds, receive, send


class Ends:
    """A channel of the guardian with little room, its poller, and the supervisor's end."""

    def __init__(self) -> None:
        ours, self.theirs = channel_pair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.theirs.settimeout(30.0)
        self.poller = select.poll()
        self.channel = Channel(ours, self.poller)

    def hear(self) -> tuple[Message, list[int]]:
        """The next message that the supervisor receives."""
        received = receive(self.theirs)
        assert received is not None
        return received

    def wakes(self) -> int:
        """What the guardian would be woken for now."""
        return sum(events for _, events in self.poller.poll(0))


@pytest.fixture
def ends() -> Iterator[Ends]:
    """Both ends, closed after the test."""
    ends = Ends()
    yield ends
    ends.channel.close()
    ends.theirs.close()


def test_what_finds_no_room_waits_in_its_order(ends: Ends) -> None:
    """Nothing is lost or overtaken, and the guardian is woken when there is room again."""
    for number in range(100):
        ends.channel.tell({"number": number})
    assert ends.wakes() == 0
    heard = []
    while len(heard) < 100:
        heard.append(ends.hear()[0]["number"])
        if ends.wakes() & select.POLLOUT:
            ends.channel.flush()
    assert heard == list(range(100))
    assert ends.wakes() == 0


def test_descriptors_of_what_waits_may_be_closed_meanwhile(ends: Ends) -> None:
    """The message has its own, which are closed once it is sent."""
    while True:
        ends.channel.tell({})
        if ends.channel._waiting:
            break
    before = len(os.listdir("/proc/self/fd"))
    reader, writer = os.pipe()
    ends.channel.tell({"event": "kept"}, [writer])
    os.close(writer)
    while not (received := ends.hear())[0]:
        ends.channel.flush()
    (copy,) = received[1]
    os.write(copy, b"x")
    assert os.read(reader, 10) == b"x"
    close_fds([copy, reader])
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_supervisor_that_is_gone_is_told_nothing(ends: Ends) -> None:
    """Neither now nor later, and it is no error."""
    for number in range(100):
        ends.channel.tell({"number": number})
    ends.theirs.close()
    ends.channel.flush()
    ends.channel.tell({"to": "nobody"})
    assert ends.channel.receive() is None


def test_closing_gives_back_what_waits(ends: Ends) -> None:
    """No descriptor stays open for a message that is never sent."""
    other = Ends()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        other.channel.tell({}, [0, 1])
    other.channel.close()
    # The channel's own is closed as well.
    assert len(os.listdir("/proc/self/fd")) == before - 1
    assert ends.wakes() == 0
    while (received := receive(other.theirs)) is not None:
        close_fds(received[1])
    other.theirs.close()


@pytest.mark.parametrize("number", [errno.ETOOMANYREFS, errno.ENOBUFS, errno.EMFILE])
def test_a_shortage_passes(ends: Ends, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The message waits, the guardian looks again soon, and nobody is taken for dead."""

    def short(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(launcher.channel, "send", short)
        ends.channel.tell({"number": 1})
        ends.channel.tell({"number": 2})
        ends.channel.flush()
        assert ends.channel.is_short
        assert ends.wakes() == 0
    ends.channel.flush()
    assert not ends.channel.is_short
    assert [ends.hear()[0]["number"] for _ in range(2)] == [1, 2]


def test_any_other_failure_is_a_mistake_of_ours(ends: Ends) -> None:
    """A descriptor that is not open must not pass for a supervisor that is gone."""
    with pytest.raises(OSError, match="Bad file descriptor"):
        ends.channel.tell({}, [2**30])


def test_words_are_received_one_at_a_time(ends: Ends) -> None:
    """Without waiting for one that has not come."""
    send(ends.theirs, {"do": "up"})
    assert ends.wakes() == select.POLLIN
    assert ends.channel.receive() == ({"do": "up"}, [])
    with pytest.raises(BlockingIOError):
        ends.channel.receive()
