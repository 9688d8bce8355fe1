"""The services of the comparison, the same program under every supervisor: `python -IS child.py MODE …`.

serve WHERE [--start S] [--family]   HTTP; answers its own pid. WHERE is a port to bind, or `fd:N` for a
                                     socket that the supervisor holds (`fd:listen`: the first of LISTEN_FDS)
count LINES SECONDS DONE             so many numbered lines in so many seconds, then exit; DONE is made
                                     before, and a second start waits for ever
flood BYTES DONE                     so many bytes of lines as fast as they are taken, then DONE is made

Standard library only.
"""

import os
import select
import signal
import socket
import sys
import time

LINE_BYTES = 200


def wait_forever() -> None:
    """Wait for signals, for ever."""
    while True:
        signal.pause()


def listener(where: str) -> socket.socket:
    """The listening socket: inherited, or bound now."""
    if where.startswith("fd:"):
        inherited = socket.socket(fileno=3 if where == "fd:listen" else int(where[3:]))
        inherited.setblocking(False)
        return inherited
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", int(where)))
    bound.listen(128)
    return bound


def serve(where: str, start_s: float) -> None:
    """Take so long to start, then answer every request with our pid."""
    # As a server that loads something first: a port that is bound only then is not there while it loads.
    select.select([], [], [], start_s)
    listening = listener(where)
    body = str(os.getpid()).encode()
    head = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    while True:
        select.select([listening], [], [])
        try:
            connection, _ = listening.accept()
        except BlockingIOError:
            continue  # another process that shares the socket was quicker
        with connection:
            connection.settimeout(1)
            try:
                connection.recv(4096)
                connection.sendall(head + body)
            except OSError:
                continue


def leave_family() -> None:
    """Fork one process into our group, and leave a daemon in a session of its own."""
    for is_daemon in (False, True):
        if os.fork() == 0:
            if is_daemon:
                os.setsid()
                if os.fork() != 0:
                    os._exit(0)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            wait_forever()


def claim(done: str) -> None:
    """Let only the first start do the work."""
    try:
        os.close(os.open(done, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        wait_forever()


def count(lines: int, seconds: float, done: str) -> None:
    """Numbered lines at an even rate, in portions of ten milliseconds."""
    claim(done)
    began, written = time.monotonic(), 0
    while written < lines:
        due = min(lines, int(lines * (time.monotonic() - began) / seconds) + 1)
        portion = "".join(f"line {number:08d} {'x' * 60}\n" for number in range(written + 1, due + 1))
        rest = memoryview(portion.encode())
        while rest:
            rest = rest[os.write(1, rest) :]
        written = due
        select.select([], [], [], 0.01)


def flood(size: int, done: str) -> None:
    """Lines without a pause."""
    portion = memoryview((("x" * (LINE_BYTES - 1)) + "\n").encode() * 320)
    while size > 0:
        size -= os.write(1, portion)
    os.close(os.open(done, os.O_CREAT))
    wait_forever()


def main(words: list[str]) -> None:
    """Do what the words say."""
    mode, *rest = words
    if mode == "serve":
        if "--family" in rest:
            leave_family()
        start_s = float(rest[rest.index("--start") + 1]) if "--start" in rest else 0.0
        serve(rest[0], start_s)
    elif mode == "count":
        count(int(rest[0]), float(rest[1]), rest[2])
    else:
        flood(int(rest[0]), rest[1])


if __name__ == "__main__":
    main(sys.argv[1:])
