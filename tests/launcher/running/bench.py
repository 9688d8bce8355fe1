"""Supervisors one after another on one loop, whose children are real and whose guardian is played.

Nothing is started here but what a test hands over; every word to the guardian can be looked at.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from launcher.children.diagnosing import Diagnostician
from launcher.children.gpu_watch import GpuWatch
from launcher.children.handover import HandedProcess, Handover
from launcher.children.oom import OomCounter
from launcher.children.parent import Parent
from launcher.children.runtime import ChildRuntime
from launcher.children.surroundings import Surroundings
from launcher.gpus import GpuReport
from launcher.lifecycle_values import Child
from launcher.logfiles import LogFile
from launcher.placement import CPU
from launcher.planning.prepared import PreparedChild
from launcher.processes import ExitStatus
from launcher.reconcile import settings_of
from launcher.records import from_json, to_json
from launcher.running.continuity import Continuity
from launcher.running.installer import rules_of
from launcher.running.journal import read_journal
from launcher.running.publisher import Publisher
from launcher.running.reload import Agreed, Reconciler
from launcher.running.stack import Stack
from launcher.running.takeover import Takeover
from launcher.wire import channel_pair, close_fds, receive
from tests.launcher.config_files import load

NONCE = "0123456789abcdef0123456789abcdef"
SERVICES = """
services:
  a: {command: [x], health: {notify: true}}
  b: {command: [y], replicas: 2, health: {notify: true}}
  c: {command: [z], depends_on: {a: ready}}
"""
ABOUT = {"child": "a", "generation": 1, "nonce": f"{NONCE}.01"}


class NoGpus:
    """A machine without GPUs."""

    def read(self) -> GpuReport:
        """None."""
        return GpuReport(())

    def close(self) -> None:
        """Nothing is open."""


class Tasks:
    """A group of tasks that are cancelled when the test is over, whatever they wait for."""

    def __init__(self) -> None:
        self.all: list[asyncio.Task[Any]] = []

    def create_task(self, coroutine: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        """Start one."""
        self.all.append(asyncio.create_task(coroutine, name=name))
        return self.all[-1]

    async def cancel(self) -> None:
        """End them all, and let no error pass but cancellation."""
        for task in self.all:
            task.cancel()
        for result in await asyncio.gather(*self.all, return_exceptions=True):
            if isinstance(result, Exception):
                raise result


class Post:
    """One supervisor's parts, with the guardian's end of its channel."""

    def __init__(self, bench: Bench) -> None:
        ours, self.guardian = channel_pair()
        self.lost: list[str] = []
        self.said: list[str] = []
        self.parent = Parent(ours, lambda: self.lost.append("lost"), lambda: None, NONCE, pid=os.getpid())
        self.tasks = Tasks()
        self.stack = Stack(Publisher(), self.said.append)
        # Of a reconciler only what it has agreed on is looked at.
        self.reconciler = cast(Reconciler, SimpleNamespace(agreed=Agreed(project="p", digests={"a": "d"})))
        self._bench = bench
        self.around = Surroundings(
            parent=self.parent,
            tasks=cast(asyncio.TaskGroup, self.tasks),
            logs=bench.folder,
            post=self.stack.post,
            changed=lambda: None,
            journal=lambda: None,
            remember=lambda: None,
            peers=dict,
            rank=lambda service: 0,
            oom=OomCounter(None),
            diagnostician=Diagnostician(self.parent, bench.folder),
            gpus=GpuWatch(NoGpus()),
        )
        self.continuity = Continuity(
            self.parent, self.stack, self.reconciler, bench.journal, self.said.append, dict
        )

    def make_runtime(self, prepared: PreparedChild, address: Path) -> ChildRuntime:
        """A child that was never started."""
        log = LogFile(self._bench.folder / f"{prepared.name}.log", 10_000_000, 1)
        life = Child(rules_of(prepared.service))
        return ChildRuntime(prepared.service, prepared, life, log, address, self.around)

    def add(self, name: str, service: str = "a", **life: Any) -> ChildRuntime:
        """A child of the configuration, whose life is as given."""
        settings = self._bench.services[service]
        prepared = PreparedChild(name, settings, 0, None, (), False, None, CPU)
        child = self.make_runtime(prepared, self._bench.folder / f"n{len(self.stack.children)}")
        child.life = replace(child.life, **life)
        self.stack.adopt(child)
        return child

    def restore(self, handover: Handover) -> int:
        """Take over what the supervisor before has written down."""
        journal, note = read_journal(self._bench.journal)
        assert note is None
        assert journal.state is not None
        takeover = Takeover(handover, self.parent, self.stack, self.reconciler, self.make_runtime)
        return takeover.restore(journal.state)

    def words(self) -> list[dict[str, Any]]:
        """What was said to the guardian since the last call; descriptors are closed."""
        words = []
        while True:
            try:
                received = receive(self.guardian, wait=False)
            except BlockingIOError:
                return words
            assert received is not None
            close_fds(received[1])
            words.append(received[0])

    def words_on(self, pid: int) -> list[str]:
        """What was said of one process, each word once."""
        return [str(word["do"]) for word in self.words() if word.get("pid") == pid]

    async def close(self) -> None:
        """Let go of everything."""
        await self.tasks.cancel()
        for child in self.stack.children.values():
            child.close()
            for held in child.prepared.sockets:
                held.close()
        self.around.diagnostician.close()
        self.around.gpus.close()
        self.parent.close()
        self.guardian.close()


class Bench:
    """A folder, a configuration, and the processes that a guardian would hand over."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = folder / "journal.json"
        config = load(folder, SERVICES)
        documents = {
            name: to_json(service, settings=settings_of(service)) for name, service in config.services.items()
        }
        self.services = {name: from_json(document) for name, document in documents.items()}
        self._posts: list[Post] = []
        self._programs: list[subprocess.Popen[bytes]] = []
        self._pipes: list[int] = []

    def supervisor(self) -> Post:
        """Another supervisor."""
        self._posts.append(Post(self))
        return self._posts[-1]

    def process(
        self, about: Mapping[str, Any] | None = None, ended: ExitStatus | None = None
    ) -> HandedProcess:
        """A program that runs, or has ended."""
        program = subprocess.Popen(["sleep", "1000"])
        self._programs.append(program)
        stdout, stderr, status = os.pipe(), os.pipe(), os.pipe()
        self._pipes += [stdout[1], stderr[1], status[1]]
        fds = [os.pidfd_open(program.pid), stdout[0], stderr[0], status[0]]
        if ended is not None:
            program.kill()
            program.wait()
        return HandedProcess(program.pid, {} if about is None else about, ended, fds)

    async def turn(self) -> None:
        """Let the loop do what is due, once."""
        await asyncio.sleep(0)

    async def close(self) -> None:
        """End everything."""
        for post in self._posts:
            await post.close()
        for program in self._programs:
            program.kill()
            program.wait()
        close_fds(self._pipes)


def listening() -> socket.socket:
    """A socket that clients can connect to."""
    return socket.create_server(("127.0.0.1", 0))
