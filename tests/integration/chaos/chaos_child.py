"""A child that keeps evidence, for the chaos suite: `python -IS chaos_child.py FOLDER [FLAGS]`.

It proves by file locks that no other copy of it lives, counts every line that it has written in a file that
outlives it, serves HTTP on the sockets that it inherited, and misbehaves on signals: SIGUSR1 is a flood of
lines, SIGUSR2 leaves a daemon behind. Standard library only, one thread, never sleeps.

What it leaves in FOLDER: `SERVICE.N.copy` and `SERVICE.N.tree` (locks), `doubles` (one line for each lock
that somebody else held), `lines/BIRTH` (how many lines this process has written, eight bytes).
"""

import argparse
import fcntl
import mmap
import os
import select
import signal
import socket
import struct
import sys
import time
from contextlib import suppress

FLOOD_LINES = 5000
CHATTER_LINES = 20
CHATTER_PERIOD_S = 0.02


class Diary:
    """Numbered lines on stdout; each is counted once the pipe has taken it."""

    def __init__(self, folder: str, birth: str) -> None:
        """Begin at 1 for this process; `birth` is its own name for ever."""
        self._birth = birth
        self._number = 0
        path = os.path.join(folder, "lines", birth)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.ftruncate(descriptor, 8)
        self._count = mmap.mmap(descriptor, 8)
        os.close(descriptor)

    def write(self, lines: int) -> None:
        """Write so many lines, one at a time: a line of this length is taken whole or not at all."""
        for _ in range(lines):
            self._number += 1
            os.write(1, f"chaos {self._birth} {self._number} {'x' * (self._number % 120)}\n".encode())
            self._count[:] = struct.pack("<Q", self._number)


def claim(folder: str, name: str, birth: str) -> int:
    """Lock what only one live process may hold; whoever comes second writes that down."""
    descriptor = os.open(os.path.join(folder, name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 100, 0).decode()
        with open(os.path.join(folder, "doubles"), "a") as doubles:
            doubles.write(f"{name}: {birth} was started while {holder} was alive\n")
    else:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, birth.encode(), 0)
    return descriptor


def leave_behind(copy_lock: int, *, is_daemon: bool) -> None:
    """Fork a process that waits for ever; a daemon has left session and parent."""
    if os.fork() == 0:
        if is_daemon:
            os.setsid()
            if os.fork() != 0:
                os._exit(0)
        os.close(copy_lock)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        while True:
            signal.pause()


def notify(text: str) -> None:
    """Send one sd_notify datagram."""
    address = os.environ["NOTIFY_SOCKET"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, suppress(ConnectionRefusedError):
        # Refused: supervisor and guardian have just been killed, and so will this process be.
        sender.sendto(text.encode(), "\0" + address[1:] if address.startswith("@") else address)


def answer(listener: socket.socket, birth: str) -> None:
    """Serve one connection; a client that is gone already is nobody's fault."""
    try:
        connection, _ = listener.accept()
    except BlockingIOError:
        return  # whoever answers in a starting child's place was quicker
    with connection:
        connection.settimeout(0.5)
        try:
            connection.recv(4096)
            body = birth.encode()
            connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        except OSError:
            return


def parse() -> argparse.Namespace:
    """The flags."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--chatter", action="store_true", help="write lines all the time")
    parser.add_argument("--stubborn", action="store_true", help="ignore SIGTERM")
    parser.add_argument("--family", action="store_true", help="fork and leave a daemon at birth")
    return parser.parse_args()


def listen_for_signals() -> int:
    """Let signals arrive as bytes in a pipe, whose end to read is returned."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):
        signal.signal(number, lambda number, frame: None)
    return reader


def obey(number: int, diary: Diary, copy_lock: int, *, is_stubborn: bool) -> None:
    """Do what a signal asks for."""
    if number == signal.SIGUSR1:
        diary.write(FLOOD_LINES)
    elif number == signal.SIGUSR2:
        leave_behind(copy_lock, is_daemon=True)
    elif number == signal.SIGTERM and not is_stubborn:
        diary.write(1)
        raise SystemExit(0)


def main() -> None:
    """Claim, get ready, and serve until SIGTERM."""
    flags = parse()
    service, _, replica = os.environ["LUCID_CHILD"].partition(".")
    name = f"{service}.{replica or 0}"
    birth = f"{name}-{os.environ['LUCID_GENERATION']}-{os.getpid()}-{time.time_ns()}"
    signals = listen_for_signals()
    copy_lock = claim(flags.folder, f"{name}.copy", birth)
    # Kept by everything that is forked: a new generation must not begin beside what the old one left.
    claim(flags.folder, f"{name}.tree", birth)
    diary = Diary(flags.folder, birth)
    diary.write(1)
    if flags.family:
        leave_behind(copy_lock, is_daemon=False)
        leave_behind(copy_lock, is_daemon=True)
    listeners = [socket.socket(fileno=fd) for fd in range(3, 3 + int(os.environ.get("LISTEN_FDS", "0")))]
    notify("READY=1")
    while True:
        timeout_s = CHATTER_PERIOD_S if flags.chatter else None
        readable, _, _ = select.select([signals, *listeners], [], [], timeout_s)
        if flags.chatter:
            diary.write(CHATTER_LINES)
        for number in os.read(signals, 4096) if signals in readable else b"":
            obey(number, diary, copy_lock, is_stubborn=flags.stubborn)
        for listener in listeners:
            if listener in readable:
                answer(listener, birth)


if __name__ == "__main__":
    sys.exit(main())
