"""The guardian as the supervisor sees it: start a program, be told of its end, keep what must not be lost.

Decides how words and answers find each other, that nothing is reaped before its end has been written down
(`release`), and that a program whose start was given up is ended. The guardian itself is `launcher.guardian`;
it starts the supervisor and is the parent of all.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from launcher.children.handover import HandedProcess
from launcher.processes import ExitStatus, ProcessTree
from launcher.procfs import NONCE_VARIABLE
from launcher.spawning import SpawnError, SpawnRequest, explain_refusal, make_order, read_to_end
from launcher.wire import Message, close_fds, receive, send

__all__ = ["Born", "Parent"]


@dataclass(frozen=True)
class Born:
    """A started program: its processes and the read ends of its output, which the caller now owns."""

    tree: ProcessTree
    nonce: str
    stdout_fd: int
    stderr_fd: int


@dataclass
class _Starting:
    """A word to spawn that has not been answered."""

    program: str
    on_born: Callable[[int], None]
    answer: asyncio.Future[tuple[int, list[int]]]


class Parent:
    """The words to the guardian and its answers; lives on the loop's thread."""

    def __init__(
        self,
        channel: socket.socket,
        on_lost: Callable[[], None],
        on_end: Callable[[], None],
        nonce: str = "",
        pid: int | None = None,
    ) -> None:
        """Talk on `channel`; `on_lost` is called once when the guardian has gone, `on_end` when it was asked
        to end. Every program carries `nonce`, a dot and a nonce of its own. `pid` is the guardian's, by
        default our parent's.
        """
        self._on_end = on_end
        self.pid = os.getppid() if pid is None else pid
        self.kept: dict[str, list[int]] = {}
        """Our own descriptors of what the guardian keeps, by name."""
        self._channel = channel
        self._on_lost = on_lost
        self.nonce = nonce or secrets.token_hex(16)
        self._next_id = 0
        self._starting: dict[int, _Starting] = {}
        self._trees: dict[int, ProcessTree] = {}
        self._early: dict[int, ExitStatus] = {}
        self._given_up: set[int] = set()
        self._emptied: set[int] = set()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(channel, self.listen)

    @property
    def has_children(self) -> bool:
        """Whether a program that was started here, or its group, still lives."""
        return bool(self._starting or self._trees or self._given_up)

    async def start(
        self,
        request: SpawnRequest,
        on_born: Callable[[int], None],
        on_exit: Callable[[ExitStatus, bool], None],
        on_empty: Callable[[], None],
        about: Mapping[str, Any] | None = None,
    ) -> Born:
        """Start a program with a nonce of its own in its environment.

        `on_born` gets the pid before the program can do anything that is seen here, `on_exit` the leader's
        status and whether its group is empty; when it is not, `on_empty` follows once it is. A program with
        an `about` is handed to the next supervisor, and is reaped only when it was `release`d. Raises
        SpawnError when nothing came to be.
        """
        nonce = f"{self.nonce}.{secrets.token_hex(8)}"
        marked = replace(request, environ={**request.environ, NONCE_VARIABLE: nonce})
        pid, fds = await self._spawn(marked, on_born, about and {**about, "nonce": nonce})
        pidfd, stdout_fd, stderr_fd, status_fd = fds
        try:
            failure = await read_to_end(status_fd)
        except asyncio.CancelledError:
            close_fds([pidfd, stdout_fd, stderr_fd])
            self._give_up(pid)
            raise
        finally:
            os.close(status_fd)
        if failure:
            close_fds([pidfd, stdout_fd, stderr_fd])
            self._give_up(pid)
            raise SpawnError(failure.decode("utf-8", "replace"))
        tree = self._watch(pid, pidfd, nonce, on_exit, on_empty, is_kept=about is not None)
        return Born(tree, nonce, stdout_fd, stderr_fd)

    def adopt(
        self,
        process: HandedProcess,
        on_exit: Callable[[ExitStatus, bool], None],
        on_empty: Callable[[], None],
        *,
        has_told_exit: bool = False,
    ) -> Born:
        """Go on with a program that was handed over; with `has_told_exit` only its emptiness is told."""
        pidfd, stdout_fd, stderr_fd, status_fd = process.fds
        os.close(status_fd)
        nonce = str(process.about["nonce"])
        tree = self._watch(process.pid, pidfd, nonce, on_exit, on_empty, is_kept=True)
        if has_told_exit:
            self._loop.call_soon(tree.look_again)
        elif process.ended is not None:
            self._loop.call_soon(tree.leader_ended, process.ended)
        return Born(tree, nonce, stdout_fd, stderr_fd)

    def discard(self, process: HandedProcess) -> None:
        """End a program that was handed over and that nobody wants."""
        close_fds(process.fds)
        if process.ended is None:
            self._give_up(process.pid)
        else:
            self._say({"do": "release", "pid": process.pid})

    def release(self, still_needed: Collection[int] = ()) -> None:
        """Let the guardian reap what is empty, but for `still_needed`, whose end is not written down yet."""
        for pid in self._emptied.difference(still_needed):
            self._emptied.discard(pid)
            self._say({"do": "release", "pid": pid})

    def signal(self, pid: int, number: int) -> None:
        """Signal the group of a program that was not released yet."""
        self._say({"do": "signal", "pid": pid, "number": number})

    def others(self, pid: int) -> Collection[int]:
        """The supervisor and the leaders that live, but for `pid`."""
        return {os.getpid(), *self._trees} - {pid}

    def keep(self, name: str, fds: Sequence[int]) -> None:
        """Let the guardian hold duplicates of `fds` under `name` until `drop`, for whoever comes after us."""
        self.kept[name] = list(fds)
        self._say({"do": "keep", "name": name}, fds)

    def drop(self, name: str, *, is_ours: bool = True) -> None:
        """What was kept under `name`, by us or else by a supervisor before, is not needed any more."""
        if self.kept.pop(name, None) is not None or not is_ours:
            self._say({"do": "drop", "name": name})

    def tell(self, word: str) -> None:
        """Say `up`, `reload` or `end`; see `launcher.guardian`."""
        self._say({"do": word})

    def close(self) -> None:
        """Listen no more."""
        self._loop.remove_reader(self._channel)
        self._channel.close()

    def listen(self) -> None:
        """Take every message that is there."""
        while True:
            try:
                received = receive(self._channel, wait=False)
            except BlockingIOError:
                return
            if received is None:
                self._loop.remove_reader(self._channel)
                self._on_lost()
                return
            self._take(*received)

    def _take(self, message: Message, fds: list[int]) -> None:
        match message["event"]:
            case "spawned":
                self._born(self._starting.pop(message["id"]), message["pid"], fds)
            case "refused":
                starting = self._starting.pop(message["id"])
                text = explain_refusal(starting.program, message["errno"], message["text"])
                if not starting.answer.done():
                    starting.answer.set_exception(SpawnError(text))
            case "exited":
                self._ended(message["pid"], ExitStatus(message["code"], message["signal"]))
            case "asked_to_end":
                self._on_end()
            case "kept":
                # The lifeline: held so that the sentinel knows that we live.
                close_fds(self.kept.pop(message["name"], ()))
                self.kept[message["name"]] = fds

    def _born(self, starting: _Starting, pid: int, fds: list[int]) -> None:
        if starting.answer.done():
            # Whoever wanted it was cancelled meanwhile.
            close_fds(fds)
            self._give_up(pid)
            return
        starting.on_born(pid)
        starting.answer.set_result((pid, fds))

    def _ended(self, pid: int, status: ExitStatus) -> None:
        if pid in self._given_up:
            self._given_up.discard(pid)
            self._say({"do": "release", "pid": pid})
        elif pid in self._trees:
            self._trees[pid].leader_ended(status)
        else:
            self._early[pid] = status

    async def _spawn(
        self, request: SpawnRequest, on_born: Callable[[int], None], about: Mapping[str, Any] | None
    ) -> tuple[int, list[int]]:
        self._next_id += 1
        word = {"do": "spawn", "id": self._next_id, "about": about, "stop": asdict(request.stop)}
        starting = _Starting(request.argv[0], on_born, self._loop.create_future())
        self._starting[self._next_id] = starting
        self._say({**word, "order": make_order(request)}, request.socket_fds)
        return await starting.answer

    def _watch(
        self,
        pid: int,
        pidfd: int,
        nonce: str,
        on_exit: Callable[[ExitStatus, bool], None],
        on_empty: Callable[[], None],
        *,
        is_kept: bool,
    ) -> ProcessTree:
        def emptied() -> None:
            del self._trees[pid]
            self._emptied.add(pid)
            if not is_kept:
                self.release(self._emptied - {pid})

        tree = ProcessTree(pid, pidfd, nonce, self, emptied, on_exit, on_empty)
        self._trees[pid] = tree
        if pid in self._early:
            self._loop.call_soon(tree.leader_ended, self._early.pop(pid))
        return tree

    def _give_up(self, pid: int) -> None:
        """End a program that nobody wants any more; it is released when it has ended."""
        if pid in self._early:
            del self._early[pid]
            self._say({"do": "release", "pid": pid})
            return
        self._given_up.add(pid)
        self.signal(pid, signal.SIGKILL)

    def _say(self, word: Message, fds: Sequence[int] = ()) -> None:
        try:
            send(self._channel, word, fds)
        except (BrokenPipeError, ConnectionResetError):
            # The end of file that follows is what is acted upon.
            return
