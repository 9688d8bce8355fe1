"""One stack under supervision: the parts are put together once, run, and are given back or handed on.

Decides nothing about children. How a supervisor comes to be a process is `supervisor`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from launcher import __version__
from launcher.children.diagnosing import Diagnostician
from launcher.children.gpu_watch import GpuWatch
from launcher.children.handover import Handover
from launcher.children.oom import OomCounter
from launcher.children.parent import Parent
from launcher.children.runtime import ChildRuntime
from launcher.children.surroundings import Surroundings
from launcher.children.usage import own_rss_bytes
from launcher.control import ControlServer
from launcher.errors import LauncherError
from launcher.gpus import NvmlReader
from launcher.lifecycle_values import Child
from launcher.logfiles import LogFile
from launcher.logs.line_format import stamp
from launcher.planning.prepared import PreparedChild
from launcher.running.continuity import Continuity
from launcher.running.control_commands import Commands
from launcher.running.file_plan import ask_planner
from launcher.running.installer import rules_of
from launcher.running.journal import Journal, write_journal
from launcher.running.metrics import StackMetrics
from launcher.running.metrics_port import MetricsPort
from launcher.running.ownership import keep_ownership
from launcher.running.publisher import Publisher
from launcher.running.reload import Reconciler
from launcher.running.sampler import UsageSampler
from launcher.running.stack import Stack
from launcher.running.status_view import view_gpus, view_service
from launcher.running.succession import become_guardian
from launcher.running.takeover import Takeover
from launcher.running.voice import Report, log_line
from launcher.runtime_dir import RuntimePaths
from launcher.snapshot import StatusDocument, shape_status

__all__ = ["Inheritance", "Supervisor"]

_REASONS = {
    "died": "the one before was killed or crashed",
    "reload": "as asked",
    "guardian_lost": "the guardian was killed",
    "start": "at the start",
}


@dataclass(frozen=True)
class Inheritance:
    """What a supervisor starts with: its guardian, what that kept, and the stack as it was left (None: anew).

    `arguments` are those of the command line but for descriptors.
    """

    config_path: Path
    paths: RuntimePaths
    arguments: Sequence[str]
    channel: socket.socket
    handover: Handover
    lock_fd: int
    journal: Journal
    notes: Sequence[str]


class Supervisor:
    """One running stack: the parts, and how they begin and end."""

    def __init__(self, inherited: Inheritance, tasks: asyncio.TaskGroup) -> None:
        """Make the parts."""
        self._loop = asyncio.get_running_loop()
        self._started_at = self._loop.time()
        self._inherited = inherited
        self._config_path = inherited.config_path
        self._paths = inherited.paths
        self._notes = list(inherited.notes)
        self._tasks = tasks
        self._slots = 0
        self._is_up = self._is_leaving = False
        self._reloads: set[asyncio.Task[None]] = set()
        self._logs = inherited.config_path.parent / "logs"
        self._publisher = Publisher()
        self._parent = Parent(
            inherited.channel, self._guardian_lost, self._end_once, inherited.journal.stack_nonce
        )
        self._stack = Stack(self._publisher, log_line, self._changed)
        self._gpus = GpuWatch(NvmlReader(keep_open=True))
        self._sampler = UsageSampler(self._stack, self._gpus, tasks, log_line)
        self._around = Surroundings(
            parent=self._parent,
            tasks=tasks,
            logs=self._logs,
            post=self._stack.post,
            changed=self._publisher.changed,
            journal=self._changed,
            peers=self._peers,
            rank=self._stack.rank,
            oom=OomCounter.of_this_process(),
            diagnostician=Diagnostician(self._parent, self._logs),
            gpus=self._gpus,
        )
        ask = partial(ask_planner, self._parent)
        metrics = StackMetrics(self._stack)
        self._metrics_port = MetricsPort(lambda: metrics.render(self.status()))
        self._reconciler = Reconciler(
            self._stack, inherited.config_path, ask, self._make_new, self._metrics_port
        )
        self._continuity = Continuity(
            self._parent, self._stack, self._reconciler, inherited.paths.journal, log_line
        )
        commands = Commands(
            self._stack, self._reconciler, self._publisher, self.status, self._end_within, self._reload_self
        )
        self._control = ControlServer(
            inherited.paths.control_socket,
            commands,
            self._publisher,
            self.status,
            lambda: metrics.render(self.status()),
            self._sampler.wake,
        )

    async def run(self, only: Sequence[str], strict_ports: bool, report: Report) -> None:
        """Start, serve and end the stack; raises LauncherError when it cannot be started."""
        self._keep_what_is_kept()
        if self._inherited.journal.state is None:
            await self._begin(only, strict_ports)
        else:
            await self._go_on(self._inherited.journal.state)
        held = self._inherited.handover.kept.get("control", [])
        listener = socket.socket(fileno=held[0]) if held else None
        self._parent.keep("control", [await self._control.open(listener)])
        self._handle_signals()
        self._continuity.write()
        self._parent.tell("up")
        self._is_up = True
        for note in self._notes:
            log_line(note)
        report.ready(self._notes, self._plan())
        log_line(f"supervisor {__version__} runs, pid {os.getpid()}")
        self._sampler.wake()
        await self._stack.run()
        await self._end()

    async def _begin(self, only: Sequence[str], strict_ports: bool) -> None:
        _, notes = await self._reconciler.up(only, strict_ports=strict_ports)
        self._notes += notes

    async def _go_on(self, state: Mapping[str, Any]) -> None:
        handover = self._inherited.handover
        takeover = Takeover(handover, self._parent, self._stack, self._reconciler, self._make_runtime)
        count = takeover.restore(state)
        try:
            await self._metrics_port.listen_on(self._reconciler.agreed.metrics_port, None)
        except LauncherError as error:
            log_line(str(error))
        log_line(
            f"this supervisor takes over ({_REASONS[handover.reason]}); {count} children go on untouched"
        )

    def _keep_what_is_kept(self) -> None:
        """Be able to hand on to a guardian of our own making what this one keeps."""
        inherited = self._inherited
        kept = inherited.handover.kept
        for name in ("lifeline", "notes"):
            if name in kept:
                self._parent.kept[name] = kept[name]
        keep_ownership(self._parent, inherited.lock_fd, inherited.paths)
        if inherited.journal.state is None:
            for process in inherited.handover.processes:
                self._parent.discard(process)
            for name in kept:
                if name.startswith(("listen ", "notify ")):
                    self._parent.drop(name, is_ours=False)

    def status(self) -> StatusDocument:
        """Return the whole status document as of now."""
        now = self._loop.time()
        self._sampler.refresh()
        stack = self._stack
        services = {name: view_service(service, stack, now) for name, service in stack.services.items()}
        return shape_status(
            project=self._reconciler.agreed.project,
            config=self._config_path.name,
            revision=self._publisher.revision,
            at=stamp(time.time()),
            supervisor={
                "pid": os.getpid(),
                "guardian_pid": self._parent.pid,
                "uptime_s": round(now - self._started_at, 3),
                "version": __version__,
                "rss_bytes": own_rss_bytes(),
            },
            services=services,
            gpus=view_gpus(self._gpus.report, list(self._stack.children.values())),
            notes=self._notes,
        )

    def _make_new(self, prepared: PreparedChild) -> ChildRuntime:
        self._slots += 1
        address = self._paths.notify_socket(self._slots, for_others=prepared.service.user is not None)
        return self._make_runtime(prepared, address)

    def _make_runtime(self, prepared: PreparedChild, address: Path) -> ChildRuntime:
        service = prepared.service
        self._slots = max(self._slots, self._paths.slot_of(address))
        log = LogFile(self._logs / f"{prepared.name}.log", service.logs.max_size_bytes, service.logs.backups)
        return ChildRuntime(service, prepared, Child(rules_of(service)), log, address, self._around)

    def _peers(self) -> dict[str, str]:
        urls = ((child.service.name, child.prepared.url) for child in self._stack.children.values())
        return {name: url for name, url in urls if url is not None}

    def _changed(self) -> None:
        self._continuity.changed()

    def _guardian_lost(self) -> None:
        if not self._is_up and self._inherited.journal.state is None:
            # There is nothing to save yet, and whoever waits for the report sees its end.
            os._exit(1)
        if not self._is_leaving:
            become_guardian(self._parent, self._stack, self._continuity, self._inherited.arguments, log_line)

    def _reload_self(self) -> None:
        log_line("another supervisor takes over, as asked")
        self._is_leaving = True
        self._stack.leave()

    def _handle_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._asked_to_end, number)
        self._loop.add_signal_handler(signal.SIGHUP, self._hang_up)

    def _hang_up(self) -> None:
        reload = self._tasks.create_task(self._reload(), name="reload")
        self._reloads.add(reload)
        reload.add_done_callback(self._reloads.discard)

    def _asked_to_end(self, number: signal.Signals) -> None:
        if self._stack.is_ending:
            log_line(f"{number.name} again: everything is killed")
            self._stack.kill()
            return
        log_line(f"{number.name}: everything is stopped in order")
        self._stack.end()

    def _end_once(self) -> None:
        if not self._stack.is_ending:
            log_line("the guardian was asked to end: everything is stopped in order")
            self._stack.end()

    def _end_within(self, timeout_s: float | None) -> None:
        log_line("asked to go down")
        self._stack.end()
        if timeout_s is not None:
            self._loop.call_later(timeout_s, self._stack.kill)

    async def _reload(self) -> None:
        try:
            actions, notes = await self._reconciler.up([])
        except LauncherError as error:
            log_line(f"the file was not taken over: {error}")
            return
        done = [f"{action.kind} {action.service}" for action in actions if action.kind != "keep"]
        log_line(f"the file was read again: {', '.join(done) or 'nothing changed'}")
        for note in notes:
            log_line(note)

    def _plan(self) -> list[dict[str, Any]]:
        return [
            {
                "service": child.service.name,
                "child": child.name,
                "port": child.prepared.port,
                "url": child.prepared.url,
                "device": child.prepared.gpu.device,
                "fallback_port": child.prepared.fallback_port,
            }
            for child in self._stack.children.values()
        ]

    async def _end(self) -> None:
        """Give everything back; all children are at rest, or another supervisor takes them over."""
        await self._metrics_port.close()
        await self._control.close(for_good=not self._is_leaving)
        self._sampler.close()
        self._around.diagnostician.close()
        self._gpus.close()
        if self._is_leaving:
            self._continuity.write()
            self._parent.tell("reload")
            # What is not given back is what the next supervisor goes on with.
            os._exit(0)
        self._is_leaving = True
        for reload in self._reloads:
            reload.cancel()
        await asyncio.gather(*self._reloads, return_exceptions=True)
        for child in self._stack.children.values():
            child.close()
            for held in child.prepared.sockets:
                held.close()
        write_journal(self._paths.journal, [])
        self._parent.tell("end")
        self._parent.close()
        log_line("supervisor ends; everything is stopped")
