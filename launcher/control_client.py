"""The client's side of the control socket: read the status, send commands, follow changes, start a
supervisor.

Knows the envelope (protocol.md section 3) and the socket's place; decides nothing about services. The
status is
fetched by a plain `GET /status` with the socket module alone: a WebSocket library would double the time of
`status`. Everything that blocks has a time limit.
"""

import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.errors import LauncherError, NotRunning, SupervisorFailed, from_document
from launcher.import_path import own_environ
from launcher.runtime_dir import read_owner_pid, runtime_dir, runtime_paths

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

Document = dict[str, Any]
ANSWER_TIMEOUT_S = 5.0
GOODBYE_TIMEOUT_S = 2.0
REPORT_TAIL_LINES = 12
MAX_FRAME_BYTES = 64 * 1024 * 1024


def control_path(config_path: Path) -> Path:
    """Where the supervisor of this config file listens."""
    return runtime_dir(config_path) / "control.sock"


def fetch_status(config_path: Path, timeout_s: float = ANSWER_TIMEOUT_S) -> Document:
    """The status document (launcher.md section 4) of the running stack.

    Raises NotRunning when nobody listens who owns the stack, SupervisorFailed when what listens gives no
    usable answer in time.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(str(control_path(config_path)))
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            raise NotRunning(str(config_path)) from None
        try:
            connection.sendall(b"GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            head, _, body = _read_until_closed(connection).partition(b"\r\n\r\n")
        except OSError as error:
            if read_owner_pid(runtime_paths(config_path)) is None:
                # Whoever listens there owns nothing: the lock is the truth.
                raise NotRunning(str(config_path)) from None
            raise SupervisorFailed(
                f"the supervisor did not answer within {timeout_s:g} s ({error})"
            ) from error
    if b" 200 " not in head.split(b"\r\n", 1)[0]:
        raise SupervisorFailed(f"the supervisor answered {head[:80].decode(errors='replace')!r}")
    document: Document = json.loads(body)
    return document


def _read_until_closed(connection: socket.socket) -> bytes:
    """Everything that the other side sends before it closes."""
    chunks = []
    while chunk := connection.recv(65_536):
        chunks.append(chunk)
    return b"".join(chunks)


class ControlClient:
    """One subscriber's connection to the supervisor, and to whoever takes over from it; made by `connect`."""

    def __init__(self, config_path: Path, connection: "ClientConnection") -> None:
        self._config_path = config_path
        self._connection = connection
        self._frames_before_reply: list[Document] = []
        self._subscription: Document | None = None
        self._seen_revision = 0
        self._has_followed = False

    async def request(self, kind: str, **data: object) -> Document:
        """Send one command and return its success reply; raises the LauncherError that it was answered with.

        Frames of a subscription that arrive before the reply are kept for `frames`.
        """
        await self._send(json.dumps({"type": kind, "data": data, "id": kind}))
        while True:
            frame = await self._receive()
            if "status" not in frame:
                self._frames_before_reply.append(frame)
            elif frame["status"] == "success":
                self._subscription = data if kind == "subscribe" else self._subscription
                return frame
            else:
                raise from_document(frame)

    async def frames(self) -> AsyncIterator[Document]:
        """The frames of a subscription: `{"type": "snapshot", …}` and `{"type": "event", …}`.

        Goes on with the next supervisor when one is replaced or dies, and misses no event that the next one
        knows of. Ends when the stack's supervisor says goodbye for good; raises SupervisorFailed when it
        vanishes and there is no other.
        """
        while True:
            while self._frames_before_reply:
                frame = self._frames_before_reply.pop(0)
                if self._is_news(frame):
                    yield frame
            try:
                self._frames_before_reply.append(await self._receive())
            except SupervisorFailed as failure:
                if _is_goodbye(failure):
                    return
                if not await self._follow():
                    raise

    async def close(self) -> None:
        """Say goodbye and hold nothing any more."""
        try:
            await self._connection.close()
        finally:
            # A cancelled goodbye would leave the socket open.
            self._connection.transport.abort()

    def _is_news(self, frame: Document) -> bool:
        """Whether to hand a frame out; the next supervisor may tell of events that the last one told."""
        event = frame.get("event")
        if event is None:
            self._seen_revision = self._seen_revision or frame["snapshot"].get("revision", 0)
            return True
        is_new = not self._has_followed or event["revision"] > self._seen_revision
        self._seen_revision = max(self._seen_revision, event["revision"])
        return is_new

    async def _follow(self) -> bool:
        """Subscribe to the next supervisor as to the one before; False when there is none."""
        self._connection.transport.abort()
        self._has_followed = True
        try:
            # The guardian keeps the socket, so that this waits for whoever comes next.
            self._connection = await _open(self._config_path)
            if self._subscription is not None:
                await self.request("subscribe", **self._subscription)
                missed = (await self.request("events", since=self._seen_revision))["events"]
                if self._subscription.get("events"):
                    self._frames_before_reply[:0] = [{"type": "event", "event": each} for each in missed]
        except LauncherError:
            return False
        return True

    async def _send(self, text: str) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            await self._connection.send(text)
        except ConnectionClosed as closed:
            raise SupervisorFailed("the supervisor closed the control connection") from closed

    async def _receive(self) -> Document:
        """The next frame; SupervisorFailed when the connection ended."""
        from websockets.exceptions import ConnectionClosed

        try:
            frame: Document = json.loads(await self._connection.recv())
        except ConnectionClosed as closed:
            raise SupervisorFailed("the supervisor closed the control connection") from closed
        return frame


def _is_goodbye(failure: SupervisorFailed) -> bool:
    """Whether the supervisor ended in order; close code 1012 says that another one takes over."""
    from websockets.exceptions import ConnectionClosedOK

    return isinstance(failure.__cause__, ConnectionClosedOK)


async def _open(config_path: Path) -> "ClientConnection":
    """A connection; raises NotRunning when nothing listens, SupervisorFailed when nobody answers."""
    from websockets.asyncio.client import unix_connect
    from websockets.exceptions import WebSocketException

    opening = unix_connect(
        str(control_path(config_path)),
        compression=None,
        max_size=MAX_FRAME_BYTES,
        open_timeout=ANSWER_TIMEOUT_S,
        close_timeout=GOODBYE_TIMEOUT_S,
        ping_interval=None,
    )
    try:
        return await opening
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        raise NotRunning(str(config_path)) from None
    except (OSError, TimeoutError, WebSocketException) as error:
        raise SupervisorFailed(f"the supervisor's control socket does not answer: {error}") from error


@asynccontextmanager
async def connect(config_path: Path) -> AsyncIterator[ControlClient]:
    """An open control connection; raises NotRunning when nothing listens."""
    client = ControlClient(config_path, await _open(config_path))
    try:
        yield client
    finally:
        await client.close()


def start_supervisor(
    config_path: Path, only: Sequence[str], strict_ports: bool, timeout_s: float
) -> Document:
    """Start a detached supervisor and return its startup report once everything is bound.

    The report is `{"ok": true, "pid", "notes", "plan"}`. Raises the LauncherError that the supervisor reports
    (AlreadyOwned, ConfigInvalid, PortInUse …), or SupervisorFailed when it dies or stays silent for
    `timeout_s`.
    """
    log_path = config_path.parent / "logs" / "supervisor.log"
    log_path.parent.mkdir(exist_ok=True)
    reader, writer = os.pipe()
    with open(log_path, "ab") as log, open(reader, "rb") as report:
        started_at = log.tell()
        try:
            argv = _supervisor_argv(config_path, only, strict_ports, writer)
            pid = _spawn_detached(argv, log.fileno(), writer)
        finally:
            os.close(writer)
        try:
            line = _read_line(report.fileno(), timeout_s)
        except KeyboardInterrupt:
            # Nobody has heard of it yet: an interrupted start leaves nothing behind.
            os.kill(pid, signal.SIGTERM)
            raise
    if line is None:
        raise SupervisorFailed(f"the supervisor said nothing for {timeout_s:g} s; see {log_path}")
    if not line.strip():
        raise SupervisorFailed("the supervisor ended before it was ready\n" + _log_tail(log_path, started_at))
    document: Document = json.loads(line)
    if "error" in document:
        raise from_document(document["error"])
    return document


def _supervisor_argv(config_path: Path, only: Sequence[str], strict_ports: bool, report_fd: int) -> list[str]:
    """The supervisor's command line."""
    argv = [sys.executable, "-m", "launcher.guardian", "--config", str(config_path)]
    if only:
        argv += ["--only", *only]
    if strict_ports:
        argv.append("--strict-ports")
    return [*argv, "--report-fd", str(report_fd)]


def _spawn_detached(argv: list[str], log_fd: int, report_fd: int) -> int:
    """Start `argv` in its own session with the report pipe kept open; returns its pid."""
    os.set_inheritable(report_fd, True)
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, log_fd, 1),
        (os.POSIX_SPAWN_DUP2, log_fd, 2),
    ]
    return os.posix_spawn(argv[0], argv, own_environ(os.environ), file_actions=actions, setsid=True)


def _read_line(fd: int, timeout_s: float) -> bytes | None:
    """One line from a pipe; what there is at its end; None when `timeout_s` passes first."""
    deadline = time.monotonic() + timeout_s
    received = b""
    while not received.endswith(b"\n"):
        readable, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
        if not readable:
            return None
        chunk = os.read(fd, 65_536)
        if not chunk:
            break
        received += chunk
    return received


def _log_tail(log_path: Path, offset: int) -> str:
    """The last lines that the supervisor wrote since `offset`, for the error message."""
    with open(log_path, "rb") as log:
        log.seek(offset)
        lines = log.read().decode(errors="replace").splitlines()
    tail = [f"│ {line}" for line in lines[-REPORT_TAIL_LINES:]]
    return "\n".join([*tail, f"full log: {log_path}"])
