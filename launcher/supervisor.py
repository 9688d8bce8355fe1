"""The supervisor process: `python -m launcher.supervisor --config PATH [--only SVC…] [--strict-ports]
[--report-fd N]`.

Puts the parts together once, tells whoever started it how that went, and runs until it is told to end.
SIGTERM and SIGINT end the stack in order, a second one at once; SIGHUP reconciles with the file. Decides
nothing about children.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from launcher import __version__
from launcher.children.diagnosing import Diagnostician
from launcher.children.gpu_watch import GpuWatch
from launcher.children.oom import OomCounter
from launcher.children.parent import Parent
from launcher.children.runtime import ChildRuntime
from launcher.children.surroundings import Surroundings
from launcher.children.usage import own_rss_bytes
from launcher.control import ControlServer
from launcher.errors import LauncherError, SupervisorFailed
from launcher.gpus import NvmlReader
from launcher.lifecycle_values import Child
from launcher.logfiles import LogFile
from launcher.logs.line_format import stamp
from launcher.planning.preflight import PreparedChild
from launcher.running.control_commands import Commands
from launcher.running.installer import rules_of
from launcher.running.journal import sweep, write_journal
from launcher.running.metrics import StackMetrics
from launcher.running.metrics_port import MetricsPort
from launcher.running.publisher import Publisher
from launcher.running.reload import Reconciler
from launcher.running.sampler import UsageSampler
from launcher.running.stack import Stack
from launcher.running.status_view import view_gpus, view_service
from launcher.running.voice import Report, keep_log_small, log_line
from launcher.runtime_dir import OwnerLock, RuntimePaths, create_runtime_dir
from launcher.snapshot import StatusDocument, shape_status

__all__ = ["Supervisor", "main"]


class Supervisor:
    """One running stack: the parts, and how they begin and end."""

    def __init__(
        self, config_path: Path, paths: RuntimePaths, notes: Sequence[str], tasks: asyncio.TaskGroup
    ):
        """Make the parts; `notes` are what the user must know of the sweep."""
        self._loop = asyncio.get_running_loop()
        self._started_at = self._loop.time()
        self._config_path = config_path
        self._paths = paths
        self._notes = list(notes)
        self._tasks = tasks
        self._slots = 0
        self._logs = config_path.parent / "logs"
        self._publisher = Publisher()
        self._parent = Parent()
        self._stack = Stack(self._publisher, log_line)
        self._gpus = GpuWatch(NvmlReader(keep_open=True))
        self._sampler = UsageSampler(self._stack, self._gpus, tasks, log_line)
        self._around = Surroundings(
            parent=self._parent,
            tasks=tasks,
            logs=self._logs,
            post=self._stack.post,
            changed=self._publisher.changed,
            journal=self._write_journal,
            peers=self._peers,
            oom=OomCounter.of_this_process(),
            diagnostician=Diagnostician(self._parent, self._logs),
            gpus=self._gpus,
        )
        metrics = StackMetrics(self._stack)
        self._metrics_port = MetricsPort(lambda: metrics.render(self.status()))
        self._reconciler = Reconciler(
            self._stack, config_path, os.environ, self._make_runtime, self._gpus, self._metrics_port
        )
        commands = Commands(self._stack, self._reconciler, self._publisher, self.status, self._end_within)
        self._control = ControlServer(
            paths.control_socket,
            commands,
            self._publisher,
            self.status,
            lambda: metrics.render(self.status()),
            self._sampler.wake,
        )

    async def run(self, only: Sequence[str], strict_ports: bool, report: Report) -> None:
        """Start, serve and end the stack; raises LauncherError when it cannot be started."""
        _, notes = await self._reconciler.up(only, strict_ports=strict_ports)
        self._notes += notes
        await self._control.open()
        self._handle_signals()
        for note in self._notes:
            log_line(note)
        report.ready(self._notes, self._plan())
        log_line(f"supervisor {__version__} runs, pid {os.getpid()}")
        self._sampler.wake()
        await self._stack.run()
        await self._metrics_port.close()
        await self._control.close()
        self._close()
        log_line("supervisor ends; everything is stopped")

    def status(self) -> StatusDocument:
        """Return the whole status document as of now."""
        now = self._loop.time()
        self._sampler.refresh()
        stack = self._stack
        services = {name: view_service(service, stack, now) for name, service in stack.services.items()}
        return shape_status(
            project=self._reconciler.project,
            config=self._config_path.name,
            revision=self._publisher.revision,
            at=stamp(time.time()),
            supervisor={
                "pid": os.getpid(),
                "guardian_pid": None,
                "uptime_s": round(now - self._started_at, 3),
                "version": __version__,
                "rss_bytes": own_rss_bytes(),
            },
            services=services,
            gpus=view_gpus(self._gpus.report, list(self._stack.children.values())),
            notes=self._notes,
        )

    def _make_runtime(self, prepared: PreparedChild) -> ChildRuntime:
        service = prepared.service
        log = LogFile(self._logs / f"{prepared.name}.log", service.logs.max_size_bytes, service.logs.backups)
        self._slots += 1
        address = self._paths.notify_socket(self._slots, for_others=service.user is not None)
        return ChildRuntime(service, prepared, Child(rules_of(service)), log, address, self._around)

    def _peers(self) -> dict[str, str]:
        urls = ((child.service.name, child.prepared.url) for child in self._stack.children.values())
        return {name: url for name, url in urls if url is not None}

    def _write_journal(self) -> None:
        try:
            write_journal(self._paths.journal, self._stack.journal_entries())
        except OSError as error:
            log_line(f"the journal could not be written: {error}")

    def _handle_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._asked_to_end, number)
        self._loop.add_signal_handler(
            signal.SIGHUP, lambda: self._tasks.create_task(self._reload(), name="reload")
        )

    def _asked_to_end(self, number: signal.Signals) -> None:
        if self._stack.is_ending:
            log_line(f"{number.name} again: everything is killed")
            self._stack.kill()
            return
        log_line(f"{number.name}: everything is stopped in order")
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

    def _close(self) -> None:
        """Give everything back; all children are at rest."""
        self._sampler.close()
        self._reconciler.close()
        for child in self._stack.children.values():
            child.close()
            for held in child.prepared.sockets:
                held.close()
        self._around.diagnostician.close()
        self._gpus.close()
        self._parent.close()
        self._write_journal()


async def _supervise(
    arguments: argparse.Namespace, paths: RuntimePaths, notes: Sequence[str], report: Report
) -> None:
    async with asyncio.TaskGroup() as tasks:
        supervisor = Supervisor(arguments.config, paths, notes, tasks)
        await supervisor.run(arguments.only, arguments.strict_ports, report)


def _run(arguments: argparse.Namespace, report: Report) -> None:
    paths = create_runtime_dir(arguments.config)
    lock = OwnerLock(paths, arguments.config)
    try:
        notes = [*_note_predecessor(lock), *sweep(paths.journal)]
        with asyncio.Runner(debug=False) as runner:
            runner.run(_supervise(arguments, paths, notes, report))
    except* LauncherError as group:
        raise _first(group) from None
    finally:
        lock.release()


def _note_predecessor(lock: OwnerLock) -> list[str]:
    """What the user must know when the supervisor before this one did not end by itself."""
    pid = lock.dead_predecessor
    if pid is None:
        return []
    return [
        f"the supervisor before this one (pid {pid}) was killed; its services ended with it and start anew"
    ]


def _first(group: BaseExceptionGroup[LauncherError]) -> LauncherError:
    """The error itself: a task group wraps what its body raises."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error if isinstance(error, LauncherError) else SupervisorFailed(str(error))


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m launcher.supervisor", description="Run one stack.")
    parser.add_argument("--config", type=lambda text: Path(text).resolve(), required=True)
    parser.add_argument("--only", nargs="*", default=[], metavar="SVC")
    parser.add_argument("--strict-ports", action="store_true")
    parser.add_argument("--report-fd", type=int, default=None)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the supervisor to its end; returns the exit code of launcher.md section 3."""
    arguments = _parse(sys.argv[1:] if argv is None else argv)
    report = Report(arguments.report_fd)
    if arguments.report_fd is not None:
        os.set_inheritable(arguments.report_fd, False)
    keep_log_small(arguments.config.parent / "logs" / "supervisor.log")
    try:
        _run(arguments, report)
    except LauncherError as error:
        log_line(error.render())
        report.failed(error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
