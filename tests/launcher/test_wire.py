"""launcher.wire: messages keep their content, their order and their descriptors, and fail as they should."""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher.wire import LostDescriptors, channel_pair, close_fds, receive, send

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
HUGE = {"text": "€" * 200_000}
Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two connected ends."""
    ours, theirs = channel_pair()
    with ours, theirs:
        yield ours, theirs


def fill(channel: socket.socket) -> int:
    """Send until there is no room; returns how many were sent."""
    sent = 0
    while True:
        try:
            send(channel, {"number": sent}, wait=False)
        except BlockingIOError:
            return sent
        sent += 1


@given(messages=st.lists(st.dictionaries(st.text(), JSON, max_size=5), max_size=5))
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_messages_keep_content_and_order(pair: Pair, messages: list[dict[str, object]]) -> None:
    """Whatever JSON can say arrives as it was said, one message at a time."""
    ours, theirs = pair
    for message in messages:
        send(ours, message)
    assert [receive(theirs) for _ in messages] == [(message, []) for message in messages]


@pytest.mark.parametrize("count", [0, 1, 249])
@pytest.mark.parametrize("message", [{"small": 1}, HUGE], ids=["inline", "spilled"])
def test_descriptors_arrive_in_their_order(pair: Pair, message: dict[str, object], count: int) -> None:
    """They name the same files, are close-on-exec, and nothing else stays open; size plays no part."""
    ours, theirs = pair
    before = len(os.listdir("/proc/self/fd"))
    pipe = os.pipe()
    send(ours, message, [pipe[number % 2] for number in range(count)])
    received = receive(theirs)
    assert received is not None
    assert received[0] == message
    assert [os.stat(fd).st_ino for fd in received[1]] == [os.stat(pipe[n % 2]).st_ino for n in range(count)]
    assert not any(os.get_inheritable(fd) for fd in received[1])
    close_fds([*received[1], *pipe])
    assert len(os.listdir("/proc/self/fd")) == before


def test_every_size_around_the_limit_of_a_packet(pair: Pair) -> None:
    """What is just small enough, and just too large, arrives alike."""
    ours, theirs = pair
    for size in range(32 * 1024 - 20, 32 * 1024 + 5):
        send(ours, {"x": "y" * size})
        received = receive(theirs)
        assert received is not None
        assert len(received[0]["x"]) == size


def test_the_end_is_told_after_the_last_message(pair: Pair) -> None:
    """What was sent before the other end closed is still received."""
    ours, theirs = pair
    send(ours, {"last": "words"})
    ours.close()
    assert receive(theirs) == ({"last": "words"}, [])
    assert receive(theirs) is None


def test_an_end_that_closes_without_reading_is_an_end(pair: Pair) -> None:
    """The kernel calls it a reset then; it is the same to us."""
    ours, theirs = pair
    send(theirs, {"never": "read"})
    ours.close()
    assert receive(theirs) is None


def test_sending_to_nobody_is_an_error(pair: Pair) -> None:
    """It is raised, and no signal ends the sender."""
    ours, theirs = pair
    theirs.close()
    with pytest.raises(BrokenPipeError):
        send(ours, {})
    with pytest.raises(BrokenPipeError):
        send(ours, HUGE)


def test_nobody_waits_who_does_not_want_to(pair: Pair) -> None:
    """An empty channel and a full one are told at once, and a message that found no room was not sent."""
    ours, theirs = pair
    with pytest.raises(BlockingIOError):
        receive(theirs, wait=False)
    sent = fill(ours)
    assert [receive(theirs) for _ in range(sent)] == [({"number": number}, []) for number in range(sent)]
    with pytest.raises(BlockingIOError):
        receive(theirs, wait=False)


@pytest.mark.parametrize(("message", "is_known"), [({"small": 1}, True), (HUGE, False)])
def test_lost_descriptors_are_not_lost_silently(
    pair: Pair, message: dict[str, object], is_known: bool
) -> None:
    """A process with too many open files hears what was said, where that came in the packet itself."""
    ours, theirs = pair
    reader, writer = os.pipe()
    send(ours, message, [writer] * 20)
    os.close(writer)
    before = len(os.listdir("/proc/self/fd"))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, limits[1]))
    try:
        with pytest.raises(LostDescriptors) as caught:
            receive(theirs)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert (caught.value.errno, caught.value.message) == (errno.EMFILE, message if is_known else {})
    assert len(os.listdir("/proc/self/fd")) == before
    assert os.read(reader, 1) == b""
    os.close(reader)
