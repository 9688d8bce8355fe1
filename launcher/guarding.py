"""What the guardian does all its life: start supervisors, obey them, reap, and end when it is time.

Decides what becomes of the stack when a supervisor dies: another one at once, later ones after a pause, and
after several crashes in a row an orderly end of everything. Knows nothing of services, states or
configuration, and never reads what it keeps. One thread, standard library only.

Words it obeys: spawn, signal, release, keep, drop, up, reload, end. What it tells: handover, kept, process,
handed, spawned, refused, exited, asked_to_end.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from launcher.channel import Channel
from launcher.fork_exec import Order, become_subreaper, fork_exec
from launcher.lifeline import Sentinels, dismiss
from launcher.logs.line_format import format_line, stamp
from launcher.tenure import Tenure
from launcher.waking import Waker
from launcher.wards import Wards
from launcher.wire import LostDescriptors, Message, channel_pair, close_fds

__all__ = ["Guardian"]

_LIFELINE, _LOCK, _NOTES = "lifeline", "lock", "notes"
_RETRY_S = 0.02


class Guardian:
    """The loop of the one thread; `run` returns the exit code."""

    def __init__(self, arguments: Sequence[str], report_fd: int | None, kept: dict[str, list[int]]) -> None:
        """Guard `launcher.supervisor` with these arguments; `kept` is what a supervisor held before."""
        self._arguments = list(arguments)
        self._report_fd = report_fd
        self._kept = kept
        self._wards = Wards()
        self._sentinels = Sentinels(arguments)
        self._tenure = Tenure(was_up=bool(kept))
        self._waker = Waker()
        self._is_asked_to_end = False
        self._channel: Channel | None = None
        self._pid = 0
        self._start_due_at: float | None = None
        self._code: int | None = None

    def run(self) -> int:
        """Guard until the supervisor has ended by its own word, or there is no use in going on."""
        become_subreaper()
        # Pages that nobody writes to need not be copied by each fork.
        gc.freeze()
        self.start_supervisor()
        while self._code is None:
            self._waker.wait(self._timeout_s())
            self._listen()
            self._look_at_children()
            if self._start_due_at is not None and time.monotonic() >= self._start_due_at:
                self.start_supervisor()
            self._handle_signals()
        return self._code

    def _timeout_s(self) -> float | None:
        if self._start_due_at is not None:
            return self._start_due_at - time.monotonic()
        return _RETRY_S if self._channel is not None and self._channel.is_short else None

    # --- the supervisor -------------------------------------------------------------------------------------

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
            _say(f"the supervisor could not be started: {error}")
            self._start_after(self._tenure.pause_after_refusal_s())
            return
        finally:
            theirs.close()
        self._report_fd = None
        close_fds(report)
        self.attend(ours, pid)

    def attend(self, end: socket.socket, pid: int) -> None:
        """Obey a supervisor that was just started, and give it everything: it may know nothing, or not the
        latest.
        """
        self._pid = pid
        self._tenure.begin(time.monotonic())
        self._channel = Channel(end, self._waker.poller)
        self._tell({"event": "handover", "reason": self._tenure.reason})
        for name, fds in self._kept.items():
            self._tell({"event": "kept", "name": name}, fds)
        for ward in self._wards:
            document = {"pid": ward.pid, "about": ward.about, "ended": ward.ended}
            self._tell({"event": "process", **document}, [ward.pidfd, *ward.fds])
        self._tell({"event": "handed"})

    def _start_after(self, pause_s: float | None) -> None:
        if pause_s is None:
            self._give_up(f"the supervisor crashed {self._tenure.crashes} times in a row")
        else:
            self._start_due_at = time.monotonic() + pause_s

    def _supervisor_is_up(self) -> None:
        self._tenure.come_up()
        if self._is_asked_to_end:
            # The one that was signalled may have died of something else before it could listen.
            self._tell({"event": "asked_to_end"})
        if self._sentinels.pid is None:
            self._start_sentinel()

    def _supervisor_ended(self, code: int | None, number: int | None) -> None:
        # Words of one that has died meanwhile count as well.
        self._listen()
        self._hang_up()
        self._pid = 0
        if self._tenure.is_last:
            self._end(code if code is not None else 128 + (number or 0))
            return
        if not self._tenure.is_reloading:
            how = f"exit code {code}" if number is None else _name_of(number)
            _say(f"the supervisor ended by {how}; the children go on, and another one takes over")
        is_killed = number == signal.SIGKILL
        self._start_after(self._tenure.pause_after_end_s(is_killed=is_killed, now_s=time.monotonic()))

    def _handle_signals(self) -> None:
        signals = self._waker.signals
        while signals and self._pid and self._tenure.hears_signals:
            number = signals.popleft()
            self._is_asked_to_end = self._is_asked_to_end or number != signal.SIGHUP
            # Not reaped yet, so the number is its own.
            os.kill(self._pid, number)
        if self._start_due_at is not None and self._waker.is_asked_to_end:
            self._give_up("it was asked to end while no supervisor ran")

    # --- its words ------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        """Obey every word that is there."""
        while self._channel is not None:
            self._channel.flush()
            try:
                received = self._channel.receive()
            except BlockingIOError:
                return
            except LostDescriptors as error:
                self._refuse(error.message, error)
                continue
            if received is None:
                self._hang_up()
                return
            self._obey(*received)

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
            case "reload" | "end":
                self._tenure.announce(word["do"])

    def _spawn(self, word: Message, fds: list[int]) -> None:
        try:
            ward = self._wards.spawn(word["order"], word["about"], word["stop"], fds)
        except OSError as error:
            self._refuse(word, error)
        else:
            self._tell({"event": "spawned", "id": word["id"], "pid": ward.pid}, [ward.pidfd, *ward.fds])
        finally:
            close_fds(fds)

    def _refuse(self, word: Message, error: OSError) -> None:
        if word.get("do") == "spawn":
            text = error.strerror or str(error)
            self._tell({"event": "refused", "id": word["id"], "errno": error.errno, "text": text})
        else:
            _say(f"a word of the supervisor was not obeyed ({word}): {error}")

    def _tell(self, event: Message, fds: Sequence[int] = ()) -> None:
        if self._channel is not None:
            self._channel.tell(event, fds)

    def _hang_up(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    # --- children, and the end ------------------------------------------------------------------------------

    def _look_at_children(self) -> None:
        if self._pid and (ended := os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG)) is not None:
            exited = ended.si_code == os.CLD_EXITED
            self._supervisor_ended(ended.si_status if exited else None, None if exited else ended.si_status)
        if self._sentinels.has_ended():
            if self._sentinels.is_worth_another():
                self._start_sentinel()
            else:
                _say("no sentinel stays alive: nobody cleans up should guardian and supervisor die together")
        for ward in self._wards.take_ended({self._pid, self._sentinels.pid}):
            self._tell({"event": "exited", "pid": ward.pid, **(ward.ended or {})})

    def _start_sentinel(self) -> None:
        for fd in self._kept.pop(_LIFELINE, ()):
            dismiss(fd)
        try:
            writer = self._sentinels.start()
        except OSError as error:
            _say(f"no sentinel could be started: {error}")
            return
        self._kept[_LIFELINE] = [writer]
        self._tell({"event": "kept", "name": _LIFELINE}, [writer])

    def _give_up(self, why: str) -> None:
        text = f"the guardian stops everything: {why}"
        _say(text)
        for fd in self._kept.get(_NOTES, ()):
            with suppress(OSError):
                os.write(fd, text.encode() + b"\n")
        self._wards.stop_all()
        self._end(1)

    def _end(self, code: int) -> None:
        """Leave nothing behind, and be done."""
        for pid in self._wards.sweep(set() if self._sentinels.pid is None else {self._sentinels.pid}):
            _say(f"pid {pid} does not end, not even by SIGKILL")
        self._sentinels.end()
        if self._tenure.is_ending:
            # An empty lock file says that its last owner ended well.
            for fd in self._kept.get(_LOCK, ()):
                os.ftruncate(fd, 0)
        self._code = code


def _name_of(number: int) -> str:
    try:
        return f"signal {signal.Signals(number).name}"
    except ValueError:
        return f"signal {number}"


def _say(text: str) -> None:
    # A full disk must not end the guardian.
    with suppress(OSError):
        os.write(1, format_line(stamp(time.time()), "lucid", text.encode()))
