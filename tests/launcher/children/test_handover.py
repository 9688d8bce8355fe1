"""launcher.children.handover: everything that the guardian kept is received, with its descriptors."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from launcher.children.handover import HandedProcess, Handover, receive_handover
from launcher.processes import ExitStatus
from launcher.wire import channel_pair, close_fds, send

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """The supervisor's end and the guardian's."""
    ours, theirs = channel_pair()
    with ours, theirs:
        yield ours, theirs


def tell(guardian: socket.socket, *events: tuple[dict[str, Any], int]) -> None:
    """Say these, each with so many descriptors."""
    null = os.open(os.devnull, os.O_RDONLY)
    for event, count in events:
        send(guardian, event, [null] * count)
    os.close(null)


def test_everything_is_received(pair: Pair) -> None:
    """The reason, what was kept by name, and programs, ended or not; what follows is left to be read."""
    ours, guardian = pair
    tell(
        guardian,
        ({"event": "handover", "reason": "died"}, 0),
        ({"event": "kept", "name": "lock"}, 1),
        ({"event": "kept", "name": "listen a"}, 2),
        ({"event": "process", "pid": 7, "about": {"child": "a"}, "ended": None}, 4),
        ({"event": "process", "pid": 8, "about": None, "ended": {"code": 3, "signal": None}}, 4),
        ({"event": "process", "pid": 9, "about": {}, "ended": {"code": None, "signal": 9}}, 4),
        ({"event": "handed"}, 0),
        ({"event": "exited", "pid": 7}, 0),
    )
    handover = receive_handover(ours)
    assert handover.reason == "died"
    assert {name: len(fds) for name, fds in handover.kept.items()} == {"lock": 1, "listen a": 2}
    first, second, third = handover.processes
    assert (first.pid, first.about, first.ended, len(first.fds)) == (7, {"child": "a"}, None, 4)
    assert second == HandedProcess(8, None, ExitStatus(3, None), second.fds)  # type: ignore[arg-type]  # as it came
    assert third.ended == ExitStatus(None, 9)
    close_fds([fd for group in handover.kept.values() for fd in group])
    close_fds([fd for process in handover.processes for fd in process.fds])
    assert b"exited" in ours.recv(1000)


def test_an_empty_handover_is_that_of_a_start(pair: Pair) -> None:
    """Nothing ran before."""
    ours, guardian = pair
    tell(guardian, ({"event": "handover", "reason": "start"}, 0), ({"event": "handed"}, 0))
    assert receive_handover(ours) == Handover("start", {}, [])


def test_a_guardian_that_dies_meanwhile_is_an_error(pair: Pair) -> None:
    """Half a handover is none."""
    ours, guardian = pair
    tell(guardian, ({"event": "handover", "reason": "died"}, 0))
    guardian.close()
    with pytest.raises(ConnectionError, match="the guardian is gone"):
        receive_handover(ours)
