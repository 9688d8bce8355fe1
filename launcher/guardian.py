"""The guardian process: `python -m launcher.guardian` and the arguments of `launcher.supervisor`.

The parent of the supervisor and of every child. It spawns, signals and reaps at the supervisor's word, keeps
what must outlive the supervisor (listening sockets, pipes, exit statuses, pids) and hands it to the next one.
Decides only what happens when a supervisor dies: another one at once, later ones after a pause, and after
several crashes in a row an orderly end of everything. Knows nothing of services, states or configuration,
and never reads what it keeps. One thread, standard library only.

Words it obeys: spawn, signal, release, keep, drop, up, reload, end. What it tells: handover, kept, process,
handed, spawned, refused, exited, asked_to_end.
"""

import gc
import json
import os
import select
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from launcher.crashes import Crashes
from launcher.fork_exec import Order, become_subreaper, fork_exec
from launcher.lifeline import dismiss, start_sentinel
from launcher.logs.line_format import format_line, stamp
from launcher.wards import Ward, Wards
from launcher.wire import Message, channel_pair, close_fds, receive, send

__all__ = ["Guardian", "main"]

_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_LIFELINE, _NOTES = "lifeline", "notes"


class Guardian:
    """The loop of the one thread; `run` returns the exit code."""

    def __init__(self, arguments: Sequence[str], report_fd: int | None, kept: dict[str, list[int]]) -> None:
        """Guard `launcher.supervisor` with these arguments; `kept` is what a supervisor held before."""
        self._arguments = list(arguments)
        self._report_fd = report_fd
        self._kept = kept
        self._wards = Wards()
        self._channel: socket.socket | None = None
        self._outbox: deque[tuple[Message, list[int]]] = deque()
        self._poller = select.poll()
        self._signals: deque[int] = deque()
        self._sentinel_pid: int | None = None
        self._pid = 0
        self._reason = "start" if not kept else "guardian_lost"
        self._was_up = bool(kept)
        self._is_up = self._is_ending = self._is_reloading = False
        self._is_asked_to_end = False
        self._started_at = 0.0
        self._crashes = Crashes()
        self._start_due_at: float | None = None
        self._code: int | None = None

    def run(self) -> int:
        """Guard until the supervisor has ended by its own word, or there is no use in going on."""
        self._prepare()
        self.start_supervisor()
        while self._code is None:
            self._wait()
            self._listen()
            self._look_at_children()
            self._handle_signals()
            if self._start_due_at is not None and time.monotonic() >= self._start_due_at:
                self.start_supervisor()
        return self._code

    def _prepare(self) -> None:
        become_subreaper()
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._wake_fd = reader
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        for number in _FORWARDED:
            signal.signal(number, lambda number, frame: self._signals.append(number))
        self._poller.register(reader, select.POLLIN)
        # Pages that nobody writes to need not be copied by each fork.
        gc.freeze()

    def _wait(self) -> None:
        timeout_ms = None
        if self._start_due_at is not None:
            timeout_ms = max(0.0, self._start_due_at - time.monotonic()) * 1000
        self._poller.poll(timeout_ms)
        with suppress(BlockingIOError):
            os.read(self._wake_fd, 4096)

    def _handle_signals(self) -> None:
        while self._signals and self._pid and (self._is_up or not self._was_up):
            number = self._signals.popleft()
            self._is_asked_to_end = self._is_asked_to_end or number != signal.SIGHUP
            # Not reaped yet, so the number is its own.
            os.kill(self._pid, number)
        if self._start_due_at is not None and any(number != signal.SIGHUP for number in self._signals):
            self._give_up("it was asked to end while no supervisor ran")

    def _listen(self) -> None:
        """Obey every word that is there; words of a supervisor that has died meanwhile count as well."""
        while self._channel is not None:
            self._flush()
            try:
                received = receive(self._channel, wait=False)
            except BlockingIOError:
                return
            if received is None:
                self._hang_up()
                return
            self._obey(*received)

    def _look_at_children(self) -> None:
        if self._pid and (ended := os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG)) is not None:
            exited = ended.si_code == os.CLD_EXITED
            self._supervisor_ended(ended.si_status if exited else None, None if exited else ended.si_status)
        if self._sentinel_pid is not None and os.waitpid(self._sentinel_pid, os.WNOHANG)[0]:
            self._start_sentinel()
        for ward in self._wards.take_ended({self._pid, self._sentinel_pid}):
            self._tell({"event": "exited", "pid": ward.pid, **(ward.ended or {})})

    def _obey(self, word: Message, fds: list[int]) -> None:
        match word["do"]:
            case "spawn":
                self._spawn(word, fds)
            case "signal":
                self._wards.signal(word["pid"], word["number"])
            case "release":
                self._wards.release(word["pid"])
            case "keep":
                close_fds(self._kept.pop(word["name"], ()))
                self._kept[word["name"]] = fds
            case "drop":
                close_fds(self._kept.pop(word["name"], ()))
            case "up":
                self._supervisor_is_up()
            case "reload":
                self._is_reloading = True
            case "end":
                self._is_ending = True

    def _spawn(self, word: Message, fds: list[int]) -> None:
        try:
            ward = self._wards.spawn(word["order"], word["about"], word["stop"], fds)
        except OSError as error:
            self._tell({"event": "refused", "id": word["id"], "errno": error.errno, "text": str(error)})
        else:
            self._tell({"event": "spawned", "id": word["id"], "pid": ward.pid}, [ward.pidfd, *ward.fds])
        finally:
            close_fds(fds)

    def _tell(self, event: Message, fds: Sequence[int] = ()) -> None:
        if self._channel is not None:
            self._outbox.append((event, list(fds)))
            self._flush()

    def _flush(self) -> None:
        """Send what can be sent without waiting: a supervisor that hangs must not stop us."""
        while self._channel is not None and self._outbox:
            try:
                send(self._channel, *self._outbox[0], wait=False)
            except BlockingIOError:
                self._poller.modify(self._channel, select.POLLIN | select.POLLOUT)
                return
            except OSError:
                # It has gone; its pidfd says so as well, and the next one is told everything anew.
                self._outbox.clear()
                return
            self._outbox.popleft()
        if self._channel is not None:
            self._poller.modify(self._channel, select.POLLIN)

    def start_supervisor(self) -> None:
        """Start a supervisor with a channel to us, or count the failure."""
        self._start_due_at = None
        ours, theirs = channel_pair()
        report = [] if self._report_fd is None else [self._report_fd]
        argv = [sys.executable, "-m", "launcher.supervisor", *self._arguments, "--guardian-fd", "3"]
        argv += ["--report-fd", "4"] if report else []
        order: Order = {"argv": argv, "environ": dict(os.environ), "cwd": os.getcwd()}
        order |= {"session": False, "dies_with_parent": False}
        try:
            pid = fork_exec(order, [0, 1, 2, theirs.fileno(), *report])
        except OSError as error:
            ours.close()
            self._log(f"the supervisor could not be started: {error}")
            self._charge()
            return
        finally:
            theirs.close()
            close_fds(report)
        self._report_fd = None
        self.attend(ours, pid)

    def attend(self, channel: socket.socket, pid: int) -> None:
        """Obey a supervisor that was just started, and hand everything over to it."""
        self._pid = pid
        self._started_at = time.monotonic()
        self._is_up = self._is_reloading = self._is_ending = False
        self._channel = channel
        self._poller.register(channel, select.POLLIN)
        self._hand_over()

    def _hand_over(self) -> None:
        """Give the new supervisor everything: it may know nothing, or not the latest."""
        self._tell({"event": "handover", "reason": self._reason})
        for name, fds in self._kept.items():
            self._tell({"event": "kept", "name": name}, fds)
        for ward in self._wards:
            self._tell({"event": "process", **_describe(ward)}, [ward.pidfd, *ward.fds])
        self._tell({"event": "handed"})

    def _supervisor_is_up(self) -> None:
        self._is_up = self._was_up = True
        if self._is_asked_to_end:
            # The one that was signalled may have died of something else before it could listen.
            self._tell({"event": "asked_to_end"})
        if self._sentinel_pid is None:
            self._start_sentinel()

    def _supervisor_ended(self, code: int | None, number: int | None) -> None:
        self._listen()
        self._hang_up()
        self._pid = 0
        how = f"exit code {code}" if number is None else f"signal {signal.Signals(number).name}"
        if self._is_ending or not self._was_up:
            self._end(code if code is not None else 128 + (number or 0))
        elif self._is_reloading:
            self._reason = "reload"
            self.start_supervisor()
        else:
            self._reason = "died"
            self._log(f"the supervisor ended by {how}; the children go on, and another one takes over")
            # Nobody's own mistake ends in SIGKILL: somebody else did that, and it says nothing of the next.
            if self._is_up and number == signal.SIGKILL:
                self.start_supervisor()
            else:
                self._charge()

    def _charge(self) -> None:
        """Another crash: start again after a pause that grows, or give up."""
        up_s = time.monotonic() - self._started_at if self._is_up else 0.0
        pause_s = self._crashes.next_pause_s(up_s)
        if pause_s is None:
            self._give_up(f"the supervisor crashed {self._crashes.count} times in a row")
        else:
            self._start_due_at = time.monotonic() + pause_s

    def _give_up(self, why: str) -> None:
        text = f"the guardian stops everything: {why}"
        self._log(text)
        for fd in self._kept.get(_NOTES, ()):
            with suppress(OSError):
                os.write(fd, text.encode() + b"\n")
        self._wards.stop_all()
        self._end(1)

    def _end(self, code: int) -> None:
        """Leave nothing behind, and be done."""
        left = self._wards.sweep(set() if self._sentinel_pid is None else {self._sentinel_pid})
        for pid in left:
            self._log(f"pid {pid} does not end, not even by SIGKILL")
        if self._sentinel_pid is not None:
            os.kill(self._sentinel_pid, signal.SIGKILL)
            os.waitpid(self._sentinel_pid, 0)
            self._sentinel_pid = None
        if self._is_ending:
            # An empty lock file says that its last owner ended well.
            for fd in self._kept.get("lock", ()):
                os.ftruncate(fd, 0)
        self._code = code

    def _hang_up(self) -> None:
        if self._channel is not None:
            self._poller.unregister(self._channel)
            self._channel.close()
            self._channel = None
        self._outbox.clear()

    def _start_sentinel(self) -> None:
        for fd in self._kept.pop(_LIFELINE, ()):
            dismiss(fd)
        try:
            self._sentinel_pid, writer = start_sentinel(self._arguments)
        except OSError as error:
            self._log(f"no sentinel could be started: {error}")
            return
        self._kept[_LIFELINE] = [writer]
        self._tell({"event": "kept", "name": _LIFELINE}, [writer])

    def _log(self, text: str) -> None:
        # A full disk must not end the guardian.
        with suppress(OSError):
            os.write(1, format_line(stamp(time.time()), "lucid", text.encode()))


def _describe(ward: Ward) -> dict[str, Any]:
    return {"pid": ward.pid, "about": ward.about, "ended": ward.ended}


def _take(arguments: list[str], name: str) -> str | None:
    """Remove an option and its value from the arguments."""
    if name not in arguments:
        return None
    place = arguments.index(name)
    value = arguments[place + 1]
    del arguments[place : place + 2]
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Guard one stack to its end; returns the supervisor's exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    report, resumed = _take(arguments, "--report-fd"), _take(arguments, "--resume")
    kept: dict[str, list[int]] = {} if resumed is None else json.loads(resumed)
    ours = {fd for fds in kept.values() for fd in fds} | ({int(report)} if report is not None else set())
    for name in os.listdir("/proc/self/fd"):
        # Whoever started us may have left descriptors open that are none of the children's business.
        with suppress(OSError):
            if int(name) > 2 and int(name) not in ours:
                os.close(int(name))
    for fd in ours:
        os.set_inheritable(fd, False)
    return Guardian(arguments, None if report is None else int(report), kept).run()


if __name__ == "__main__":
    raise SystemExit(main())
