"""A real guardian whose supervisors are played by the test: it speaks for them, and says how each one ends.

Run as `python tests/launcher/played_supervisor.py PAUSES EXECUTABLE ARGUMENTS` it is that guardian.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from launcher.wire import close_fds, receive, send

WAIT_S = 30.0
ROOT = Path(__file__).parent.parent.parent
NEVER = (60.0,)
"""Pauses of a guardian that does not start a supervisor again before the test is over."""
QUICK = tuple([0.0] * 5)
"""Pauses of a guardian that starts one at once, and as often as the real one does."""


class Played:
    """One supervisor: its process, its channel to the guardian, and what it was handed."""

    def __init__(self, stage: socket.socket) -> None:
        stage.settimeout(WAIT_S)
        self._stage = stage
        document, fds = receive_raw(stage)
        self.pid: int = document["pid"]
        self.argv: list[str] = document["argv"]
        self.report_fds = fds[1:]
        self.channel: socket.socket | None = None
        if fds:
            self.channel = socket.socket(fileno=fds[0])
            self.channel.settimeout(WAIT_S)

    def take_over(self) -> tuple[str, dict[str, list[int]], list[tuple[dict[str, Any], list[int]]]]:
        """Read what is handed over: the reason, what was kept, and the processes."""
        reason, kept, processes = "", {}, []
        while True:
            event, fds = self.hear_any()
            match event["event"]:
                case "handover":
                    reason = event["reason"]
                case "kept":
                    kept[event["name"]] = fds
                case "process":
                    processes.append((event, fds))
                case "handed":
                    return reason, kept, processes

    def come_up(self) -> Played:
        """Take over, drop what is not looked at, and say so."""
        _, kept, processes = self.take_over()
        for fds in [*kept.values(), *(fds for _, fds in processes)]:
            close_fds(fds)
        self.say({"do": "up"})
        return self

    def say(self, word: Mapping[str, Any], fds: Sequence[int] = ()) -> None:
        """Say one word to the guardian."""
        assert self.channel is not None
        send(self.channel, dict(word), fds)

    def hear_any(self) -> tuple[dict[str, Any], list[int]]:
        """The next thing that the guardian tells."""
        assert self.channel is not None
        received = receive(self.channel)
        assert received is not None, "the guardian has hung up"
        return received

    def hear(self, kind: str) -> tuple[dict[str, Any], list[int]]:
        """The next event of this kind; others before it are passed over."""
        while True:
            event, fds = self.hear_any()
            if event["event"] == kind:
                return event, fds
            close_fds(fds)

    def is_hung_up(self) -> bool:
        """Read to the end of what the guardian tells; it hangs up when it has seen our end."""
        assert self.channel is not None
        while (received := receive(self.channel)) is not None:
            close_fds(received[1])
        return True

    def spawn(self, *argv: str, **changes: Any) -> tuple[int, list[int]]:
        """Have a program started; returns its pid and pidfd, stdout, stderr and status."""
        self.say(spawn_word(*argv, **changes))
        event, fds = self.hear("spawned")
        return event["pid"], fds

    def heard_signal(self) -> str:
        """Wait for a signal that the guardian has passed on."""
        return self._stage.recv(100).decode()

    def exit(self, code: int) -> None:
        """End by itself."""
        self._stage.send(f"exit {code}".encode())

    def close(self) -> None:
        """Let go of it."""
        self._stage.close()
        if self.channel is not None:
            self.channel.close()
        close_fds(self.report_fds)


class Theatre:
    """A guardian in a folder of its own, and the stage where its supervisors appear."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = folder / "guardian.out"
        self._all: list[Played] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.settimeout(WAIT_S)
        self._listener.bind(str(folder / "stage"))
        self._listener.listen()
        self._process: subprocess.Popen[bytes] | None = None
        self._executable = folder / "executable"
        double = Path(__file__).parent / "supervisor_double.py"
        self._executable.write_text(f'#!/bin/sh\nexec "{sys.executable}" -SE "{double}" "$@"\n')
        self._executable.chmod(0o700)

    def open(
        self,
        *arguments: str,
        pauses_s: Sequence[float] = NEVER,
        pass_fds: Sequence[int] = (),
        executable: Path | None = None,
    ) -> int:
        """Start the guardian and return its pid."""
        environ = os.environ | {"PYTHONPATH": str(ROOT), "LUCID_TEST_STAGE": str(self.folder / "stage")}
        words = [json.dumps(pauses_s), str(executable or self._executable), *arguments]
        with self.output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-S", __file__, *words],
                pass_fds=pass_fds,
                env=environ,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return self._process.pid

    def next(self) -> Played:
        """Wait for the next program that is started in place of Python."""
        connection, _ = self._listener.accept()
        self._all.append(Played(connection))
        return self._all[-1]

    def wait_end(self) -> int:
        """Wait for the guardian's end and return its exit code."""
        assert self._process is not None
        return self._process.wait(WAIT_S)

    def said(self) -> str:
        """What the guardian has printed."""
        return self.output.read_text()

    def close(self) -> None:
        """End everything, however the test left it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(WAIT_S)
        for one in self._all:
            one.close()
        self._listener.close()


def spawn_word(*argv: str, **changes: Any) -> dict[str, Any]:
    """The word that has a program started; `changes` replace its parts."""
    order = {"argv": list(argv), "environ": {"PATH": os.environ["PATH"]}, "cwd": "/"}
    stop = {"signal": signal.SIGTERM, "grace_s": 20.0, "rank": 0}
    return {"do": "spawn", "id": 1, "order": order, "about": None, "stop": stop} | changes


def wait_gone(pid: int) -> None:
    """Wait until a process that is not our child has ended."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    readable, _, _ = select.select([pidfd], [], [], WAIT_S)
    os.close(pidfd)
    assert readable, f"pid {pid} still runs"


def read_all(fd: int) -> bytes:
    """Read a pipe to its end."""
    with os.fdopen(fd, "rb") as pipe:
        return pipe.read()


def is_closed(reader: int) -> bool:
    """Wait until nobody can write to a pipe any more."""
    readable, _, _ = select.select([reader], [], [], WAIT_S)
    return bool(readable) and os.read(reader, 1) == b""


def catch_up(supervisor: Played) -> None:
    """Return when the guardian has obeyed every word so far and looked at its children once more."""
    pid, fds = supervisor.spawn("true")
    close_fds(fds)
    while supervisor.hear("exited")[0]["pid"] != pid:
        pass
    supervisor.say({"do": "release", "pid": pid})


def receive_raw(stage: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """One document with descriptors, as `supervisor_double` sends it."""
    data, fds, _, _ = socket.recv_fds(stage, 65536, 4)
    return json.loads(data), fds


def main() -> int:
    """Be the guardian."""
    from launcher import crashes, guardian

    crashes._PAUSES_S = tuple(json.loads(sys.argv[1]))
    sys.executable = sys.argv[2]
    return guardian.main(sys.argv[3:])


if __name__ == "__main__":
    raise SystemExit(main())
