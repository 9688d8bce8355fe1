"""One stack under supervision: the parts are put together once, run, and are given back or handed on.

Decides nothing about children. How a supervisor comes to be a process is `supervisor`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from launcher import __version__
from launcher.children.diagnosing import Diagnostician
from launcher.children.gpu_watch import GpuWatch
from launcher.children.oom import OomCounter
from launcher.children.parent import Parent
from launcher.children.runtime import ChildRuntime
from launcher.children.surroundings import Surroundings
from launcher.control import ControlServer
from launcher.errors import LauncherError
from launcher.gpus import NvmlReader
from launcher.lifecycle_values import Child
from launcher.logfiles import LogFile
from launcher.planning.prepared import PreparedChild
from launcher.running.continuity import Continuity
from launcher.running.control_commands import Commands
from launcher.running.file_plan import ask_planner
from launcher.running.inheritance import Inheritance
from launcher.running.installer import rules_of
from launcher.running.journal import write_journal
from launcher.running.metrics import StackMetrics
from launcher.running.metrics_port import MetricsPort
from launcher.running.publisher import Publisher
from launcher.running.reload import Reconciler
from launcher.running.sampler import UsageSampler
from launcher.running.signals import Signals
from launcher.running.stack import Stack
from launcher.running.status_view import view_plan, view_stack
from launcher.running.succession import become_guardian
from launcher.running.successor import check_successor
from launcher.running.takeover import Takeover
from launcher.running.voice import Report, log_line
from launcher.snapshot import StatusDocument

__all__ = ["Supervisor"]

_REASONS = {
    "died": "the one before was killed or crashed",
    "reload": "as asked",
    "guardian_lost": "the guardian was killed",
    "start": "at the start",
}


class Supervisor:
    """One running stack: the parts, and how they begin and end."""

    def __init__(self, inherited: Inheritance, tasks: asyncio.TaskGroup) -> None:
        """Make the parts."""
        self._loop = asyncio.get_running_loop()
        self._started_at = self._loop.time()
        self._inherited = inherited
        self._paths = inherited.paths
        self._notes = list(inherited.notes)
        self._slots = 0
        self._is_up = self._is_leaving = False
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
            remember=self._remember,
            peers=self._stack.urls,
            rank=self._stack.rank,
            oom=OomCounter.of_this_process(),
            diagnostician=Diagnostician(self._parent, self._logs),
            gpus=self._gpus,
            siblings=lambda service: self._stack.of(service).values(),
        )
        ask = partial(ask_planner, self._parent)
        self._metrics = StackMetrics(self._stack)
        self._metrics_port = MetricsPort(self._render_metrics)
        self._reconciler = Reconciler(
            self._stack, inherited.config_path, ask, self._make_new, self._metrics_port
        )
        self._signals = Signals(self._stack, self._reconciler, tasks, log_line)
        self._continuity = Continuity(
            self._parent,
            self._stack,
            self._reconciler,
            inherited.paths.journal,
            log_line,
            self._metrics.remember,
        )
        commands = Commands(
            self._stack,
            self._reconciler,
            self._publisher,
            self.status,
            self._signals.end_within,
            self._reload_self,
        )
        self._control = ControlServer(
            inherited.paths.control_socket,
            commands,
            self._publisher,
            self.status,
            self._render_metrics,
            self._sampler.wake,
        )

    async def run(self, only: Sequence[str], strict_ports: bool, report: Report) -> None:
        """Start, serve and end the stack; raises LauncherError when it cannot be started."""
        self._inherited.keep(self._parent)
        if self._inherited.journal.state is None:
            await self._begin(only, strict_ports)
        else:
            await self._go_on(self._inherited.journal.state)
        self._parent.keep("control", [await self._control.open(self._inherited.control_listener())])
        self._signals.listen()
        self._continuity.write()
        self._parent.tell("up")
        self._is_up = True
        for note in self._notes:
            log_line(note)
        report.ready(self._notes, view_plan(list(self._stack.children.values())))
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
        if "metrics" in state:
            self._metrics.recall(state["metrics"])
        try:
            await self._metrics_port.listen_on(self._reconciler.agreed.metrics_port, None)
        except LauncherError as error:
            log_line(str(error))
        log_line(
            f"this supervisor takes over ({_REASONS[handover.reason]}); {count} children go on untouched"
        )

    def status(self) -> StatusDocument:
        """Return the whole status document as of now."""
        self._sampler.refresh()
        return view_stack(
            self._stack,
            self._gpus.report,
            config_path=self._inherited.config_path,
            project=self._reconciler.agreed.project,
            guardian_pid=self._parent.pid,
            started_at=self._started_at,
            notes=self._notes,
        )

    def _render_metrics(self) -> str:
        return self._metrics.render(self.status())

    def _make_new(self, prepared: PreparedChild) -> ChildRuntime:
        self._slots += 1
        address = self._paths.notify_socket(self._slots, for_others=prepared.service.user is not None)
        return self._make_runtime(prepared, address)

    def _make_runtime(self, prepared: PreparedChild, address: Path) -> ChildRuntime:
        service = prepared.service
        self._slots = max(self._slots, self._paths.slot_of(address))
        log = LogFile(self._logs / f"{prepared.name}.log", service.logs.max_size_bytes, service.logs.backups)
        return ChildRuntime(service, prepared, Child(rules_of(service)), log, address, self._around)

    def _changed(self) -> None:
        self._continuity.changed()

    def _remember(self) -> None:
        self._continuity.write()

    def _guardian_lost(self) -> None:
        if not self._is_up and self._inherited.journal.state is None:
            # There is nothing to save yet, and whoever waits for the report sees its end.
            os._exit(1)
        if not self._is_leaving:
            become_guardian(self._parent, self._stack, self._continuity, self._inherited.arguments, log_line)

    def _end_once(self) -> None:
        self._signals.end_once()

    async def _reload_self(self) -> str:
        version = await check_successor(self._parent)
        await self._reconciler.wait_idle()
        log_line(f"another supervisor takes over, as asked: version {version}")
        self._is_leaving = True
        # The reply to whoever asked goes out first.
        self._loop.call_soon(self._stack.leave)
        return version

    async def _end(self) -> None:
        """Give everything back; all children are at rest, or another supervisor takes them over."""
        await self._metrics_port.close()
        await self._control.close(for_good=not self._is_leaving)
        self._sampler.close()
        self._around.diagnostician.close()
        self._gpus.close()
        if self._is_leaving:
            for child in self._stack.children.values():
                child.door.leave()
            self._continuity.write()
            self._parent.tell("reload")
            # What is not given back is what the next supervisor goes on with.
            os._exit(0)
        self._is_leaving = True
        await self._signals.close()
        for child in self._stack.children.values():
            child.close()
            for held in child.prepared.sockets:
                held.close()
        write_journal(self._paths.journal, [])
        self._parent.tell("end")
        self._parent.close()
        log_line("supervisor ends; everything is stopped")
