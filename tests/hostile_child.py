"""A child that misbehaves on request, for tests with real processes: run it as `python tests/hostile_child.py
FLAGS`.

Without flags it waits for SIGTERM and exits 0. It never sleeps by itself: what has to wait, waits for a
signal. Flags are carried out in the order of the functions below; pids of what it forked are printed as `pid
NAME N`.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import socket
import sys


def say(text: str) -> None:
    """Print one line at once."""
    print(text, flush=True)


def notify(*lines: str) -> None:
    """Send one sd_notify datagram."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        address = os.environ["NOTIFY_SOCKET"]
        where = "\0" + address[1:] if address.startswith("@") else address
        sender.sendto("\n".join(lines).encode(), where)


def wait_forever() -> None:
    """Wait for signals, for ever."""
    while True:
        signal.pause()


def fork_child(name: str, *, leaves_session: bool, ignores_term: bool) -> None:
    """Leave a process behind that holds our stdout; with `leaves_session` a daemon that double-forked."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        if leaves_session:
            os.setsid()
            if os.fork() != 0:
                os._exit(0)
        signal.signal(signal.SIGTERM, signal.SIG_IGN if ignores_term else signal.SIG_DFL)
        os.write(writer, f"{os.getpid()}".encode())
        os.close(writer)
        wait_forever()
    os.close(writer)
    with os.fdopen(reader) as born:
        say(f"pid {name} {born.read()}")


def flood(lines: int) -> None:
    """Print numbered lines as fast as the pipe takes them."""
    for first in range(0, lines, 1000):
        numbers = range(first, min(first + 1000, lines))
        sys.stdout.write("".join(f"line {number:08d} {'x' * 80}\n" for number in numbers))
    sys.stdout.flush()


def hoard(megabytes: int) -> bytearray:
    """Use memory, each page touched."""
    kept = bytearray(megabytes * 1024 * 1024)
    kept[::4096] = b"x" * len(kept[::4096])
    return kept


def serve(*, blocks: bool) -> None:
    """Answer HTTP on the inherited sockets (or on PORT), one connection at a time, for ever.

    With `blocks` it relies on sockets that do, as simple programs do; else it makes them not to, as event
    loops do.
    """
    count = int(os.environ.get("LISTEN_FDS", "0"))
    listeners = [socket.socket(fileno=fd) for fd in range(3, 3 + count)]
    if not listeners:
        listeners = [socket.create_server(("127.0.0.1", int(os.environ["PORT"])))]
    say(f"sockets block: {[os.get_blocking(listener.fileno()) for listener in listeners]}")
    if not blocks:
        for listener in listeners:
            listener.setblocking(False)
    while True:
        for listener in select.select(listeners, [], [])[0]:
            try:
                connection, _ = listener.accept()
            except BlockingIOError:
                if blocks:
                    raise
                continue
            with connection:
                connection.setblocking(True)
                connection.recv(4096)
                body = os.environ["LUCID_GENERATION"].encode()
                head = f"HTTP/1.0 200 OK\r\nChild: {os.environ['LUCID_CHILD']}\r\nContent-Length: {len(body)}"
                connection.sendall(b"%s\r\n\r\n%s" % (head.encode(), body))


def parse() -> argparse.Namespace:
    """The flags."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ignore-term", action="store_true")
    parser.add_argument("--say", action="append", default=[])
    parser.add_argument("--complain", action="append", default=[])
    parser.add_argument("--print-environment", action="store_true")
    parser.add_argument("--fork", action="store_true")
    parser.add_argument("--setsid", action="store_true")
    parser.add_argument("--flood", type=int, default=0)
    parser.add_argument("--long-line", type=int, default=0)
    parser.add_argument("--hoard", type=int, default=0)
    parser.add_argument("--phase", action="append", default=[])
    parser.add_argument("--ready", action="store_true")
    parser.add_argument("--stop-self", action="store_true")
    parser.add_argument("--slow-stop", action="store_true")
    parser.add_argument("--use-up-files", action="store_true")
    parser.add_argument("--exit", type=int, default=None)
    parser.add_argument("--exit-generations", type=int, default=1_000_000)
    parser.add_argument("--segfault", action="store_true")
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--event-loop", action="store_true")
    return parser.parse_args()


def misbehave(flags: argparse.Namespace) -> None:
    """Print, fork, flood and hoard as asked."""
    for line in flags.say:
        say(line)
    for line in flags.complain:
        print(line, file=sys.stderr, flush=True)
    if flags.print_environment:
        for name, value in sorted(os.environ.items()):
            say(f"env {name}={value}")
        say(f"fds {sorted(int(fd) for fd in os.listdir('/proc/self/fd'))}")
        say(f"session {os.getsid(0) == os.getpid()} group {os.getpgid(0) == os.getpid()} pid {os.getpid()}")
    if flags.fork:
        fork_child("fork", leaves_session=False, ignores_term=flags.ignore_term)
    if flags.setsid:
        fork_child("setsid", leaves_session=True, ignores_term=flags.ignore_term)
    flood(flags.flood)
    if flags.long_line:
        say("y" * flags.long_line)


def end_badly(flags: argparse.Namespace) -> None:
    """End or hang as asked, in the first generations only."""
    if int(os.environ.get("LUCID_GENERATION", "1")) > flags.exit_generations:
        return
    if flags.segfault:
        os.kill(os.getpid(), signal.SIGSEGV)
    if flags.stop_self:
        os.kill(os.getpid(), signal.SIGSTOP)
    if flags.exit is not None:
        raise SystemExit(flags.exit)


def main() -> None:
    """Carry out the flags, then wait for SIGTERM."""
    flags = parse()
    signal.signal(signal.SIGTERM, signal.SIG_IGN if flags.ignore_term else end_well)
    misbehave(flags)
    if flags.slow_stop:
        signal.signal(signal.SIGTERM, end_slowly)
    kept = hoard(flags.hoard)
    for phase in flags.phase:
        notify(f"X_LUCID_PHASE={phase}", "X_LUCID_PROGRESS=0.5", f"STATUS=in {phase}")
    if flags.ready:
        notify("READY=1", "X_LUCID_DEVICE=cpu")
    if flags.use_up_files:
        use_up_files()
    end_badly(flags)
    if flags.serve:
        serve(blocks=not flags.event_loop)
    wait_forever()
    del kept


def end_slowly(number: int, frame: object) -> None:
    """Ask for ten seconds, take one, and end well."""
    notify("STOPPING=1", "EXTEND_TIMEOUT_USEC=10000000")
    select.select([], [], [], 1.0)
    end_well(number, frame)


def use_up_files() -> None:
    """Open files until there are no more to be had."""
    try:
        while True:
            os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return


def end_well(number: int, frame: object) -> None:
    """The last words of a well-behaved child."""
    # print() is not reentrant, and the signal may have come in the middle of one.
    os.write(1, b"last words\n")
    raise SystemExit(0)


if __name__ == "__main__":
    main()
