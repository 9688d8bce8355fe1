"""What the supervisor is told."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers.notify import Notifier
from servers.readiness import Readiness


@pytest.fixture(params=["path", "abstract"])
def supervisor(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """A bound notify socket and the value of NOTIFY_SOCKET."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        address = str(tmp_path / "n") if request.param == "path" else f"@lucid-test-{tmp_path.name}"
        sock.bind("\0" + address[1:] if address.startswith("@") else address)
        sock.settimeout(5)
        yield address, sock


def test_a_start_is_told_phase_by_phase(supervisor: tuple[str, socket.socket]) -> None:
    """Progress extends the start, READY comes once, a drain is STOPPING."""
    address, sock = supervisor
    environ = {"NOTIFY_SOCKET": address}
    notifier, readiness = Notifier.from_environment(environ), Readiness()
    assert environ == {}
    readiness.subscribe(notifier.on_change)
    readiness.enter("load-model", 0.62, "56/91 MB")
    readiness.ready("cuda:0")
    readiness.ready("cuda:0")
    readiness.drain()
    notifier.close()
    received = [sock.recv(4096).decode().splitlines() for _ in range(4)]
    assert received[0] == [
        "STATUS=load-model 62%: 56/91 MB",
        "X_LUCID_PHASE=load-model",
        "X_LUCID_PROGRESS=0.62",
        "X_LUCID_DETAIL=56/91 MB",
        "EXTEND_TIMEOUT_USEC=120000000",
    ]
    assert received[1] == ["STATUS=ready", "X_LUCID_PHASE=ready", "X_LUCID_DEVICE=cuda:0", "READY=1"]
    assert "READY=1" not in received[2]
    assert received[3] == ["STOPPING=1", "STATUS=draining"]


def test_a_failure_is_a_status_and_extends_nothing(supervisor: tuple[str, socket.socket]) -> None:
    """A dead worker must not look like progress, and its text cannot forge a line."""
    address, sock = supervisor
    notifier, readiness = Notifier(address), Readiness()
    readiness.subscribe(notifier.on_change)
    readiness.fail("dead\nREADY=1")
    notifier.close()
    assert sock.recv(4096).decode().splitlines() == ["STATUS=failed: dead READY=1", "X_LUCID_PHASE=failed"]


def test_without_a_supervisor_nothing_happens() -> None:
    """Run alone, the server has nobody to tell."""
    notifier = Notifier.from_environment({})
    notifier.send(READY=1)
    notifier.close()
    notifier.close()


def test_a_supervisor_that_is_gone_is_mentioned_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It must not stop the server, nor flood its log."""
    notifier = Notifier(str(tmp_path / "absent"))
    caplog.set_level(logging.WARNING)
    for _ in range(3):
        notifier.send(STATUS="x")
    notifier.close()
    assert len(caplog.records) == 1
