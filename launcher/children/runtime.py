"""One child at work: performs the effects that its lifecycle asks for, and turns what happens into events.

Holds everything of a child that is not decision: processes, pipes, sockets, the probing task, the timer. It
never changes `life`; only the supervisor does. Does not know other children, policies or the control socket.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from launcher.children.diagnosing import HungChild
from launcher.children.environment import ChildFacts, build_argv, build_environment, choose_cpus
from launcher.children.gpu_use import ChildGpu, GpuGone, find_mismatch
from launcher.children.probe import build_probe, probe_limit_s
from launcher.children.senses import Senses
from launcher.children.surroundings import LastExit, Surroundings
from launcher.children.usage import Usage
from launcher.configuration.models import Service
from launcher.lifecycle_values import (
    CancelTimer,
    Child,
    DeviceMismatched,
    Diagnose,
    Diagnosed,
    Effect,
    Event,
    Exited,
    GroupEmptied,
    Kill,
    SetTimer,
    Spawn,
    Spawned,
    SpawnFailed,
    StartProbe,
    StopProbe,
    Terminate,
    TimerFired,
)
from launcher.logfiles import LogFile, OutputReader
from launcher.logs.line_format import stamp
from launcher.notify import NotifySocket
from launcher.planning.preflight import PreparedChild
from launcher.processes import ExitStatus, ProcessTree
from launcher.procfs import read_stat
from launcher.restart_policy import Outcome
from launcher.spawning import SpawnError, SpawnRequest

__all__ = ["ChildRuntime"]


@dataclass
class ChildRuntime:
    """One child's edges; made once per child and used for all its generations."""

    service: Service
    prepared: PreparedChild
    life: Child
    log: LogFile
    notify_address: Path
    around: Surroundings
    usage: Usage | None = None
    last_exit: LastExit | None = None
    exits_total: int = 0
    spawned_at: float | None = None
    spawned_service: Service | None = None
    """The settings that the last generation was spawned with."""
    tree: ProcessTree | None = None
    nonce: str = ""
    diagnosis: str | None = None
    """The bundle of the generation that was last looked at, until the next one is spawned."""
    _notify: NotifySocket | None = None
    _output: OutputReader | None = None
    _timer: asyncio.TimerHandle | None = None
    _environ: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.senses = Senses(self._post, self.around.changed, self._device_told)
        self.gpu = ChildGpu(self.around.gpus)

    @property
    def name(self) -> str:
        """The child's name (`inference.0`)."""
        return str(self.prepared.name)

    def perform(self, effect: Effect) -> None:
        """Do what the lifecycle asks for; never waits."""
        match effect:
            case Spawn(generation):
                self.around.tasks.create_task(self._spawn(generation), name=f"spawn {self.name}")
            case StartProbe():
                self._start_probe()
            case StopProbe():
                self.senses.stop_probe()
            case Diagnose(why):
                self.around.tasks.create_task(self._diagnose(why), name=f"diagnose {self.name}")
            case Terminate() if self.tree is not None:
                self.tree.terminate(signal.Signals[f"SIG{self.service.stop.signal}"])
            case Kill() if self.tree is not None:
                self.tree.kill()
            case SetTimer(kind, delay_s):
                self._cancel_timer()
                event = TimerFired(kind, self.life.generation)
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(delay_s, self.around.post, self.name, event)
            case CancelTimer():
                self._cancel_timer()

    def rename(self, name: str) -> None:
        """Go on under another name, log included; the running process keeps the name that it was told."""
        self.prepared = replace(self.prepared, name=name)
        self.log.move_to(self.around.logs / f"{name}.log")
        self.around.journal()

    def close(self) -> None:
        """Give back what outlives the generations; the child must be at rest."""
        self._cancel_timer()
        self.senses.stop_probe()
        if self._notify is not None:
            self._notify.close()
        if self._output is not None:
            self._output.close()
        self.log.close()

    async def _spawn(self, generation: int) -> None:
        self.senses.begin(generation)
        self.usage, self.diagnosis = None, None
        self.spawned_service = self.service
        try:
            await self._take_seat()
            request = self._build_request(generation)
            born = await self.around.parent.start(
                request,
                on_born=self._believe,
                on_exit=lambda status, is_empty: self._exited(generation, status, is_empty),
                on_empty=lambda: self._emptied(generation),
            )
        except (SpawnError, GpuGone, OSError, ValueError) as error:
            # ValueError: what `env_file` holds cannot be an environment.
            text = str(error) if isinstance(error, SpawnError | GpuGone) else f"cannot start: {error}"
            self._record_exit(Outcome("spawn_failed"), ExitStatus(None, None), None, [text])
            self.log.mark(f"generation {generation} did not start: {text}")
            self._post(SpawnFailed(generation, text))
            return
        self.tree, self.nonce, self._environ = born.tree, born.nonce, request.environ
        self.spawned_at = asyncio.get_running_loop().time()
        self._output = OutputReader(born.stdout_fd, born.stderr_fd, self.log, self.around.changed)
        self.log.mark(f"generation {generation} started, pid {born.tree.pid}")
        self._post(Spawned(generation, born.tree.pid))
        self.around.journal()

    async def _take_seat(self) -> None:
        """A GPU may have gone since the child was placed."""
        before = self.prepared.gpu
        seat = await self.gpu.take_seat(self.prepared, os.environ)
        if seat is not before:
            self.prepared = replace(self.prepared, gpu=seat)
            self.log.mark(seat.note or f"moved to {', '.join(seat.ids)}")

    def _build_request(self, generation: int) -> SpawnRequest:
        service, prepared = self.service, self.prepared
        if self._notify is None:
            self._notify = NotifySocket(self.notify_address, self.senses.notified)
        sockets = prepared.sockets if service.inherit_sockets else ()
        facts = ChildFacts(
            child=self.name,
            generation=generation,
            port=prepared.port,
            socket_names=tuple(service.name for _ in sockets),
            notify_address=self._notify.address,
            cuda_visible_devices=prepared.gpu.cuda_visible_devices,
            device=prepared.gpu.device,
            peers=self.around.peers(),
        )
        environ = build_environment(service, facts, os.environ)
        return SpawnRequest(
            build_argv(service, environ),
            environ,
            service.cwd,
            tuple(held.fileno() for held in sockets),
            service.user,
            choose_cpus(service, prepared.gpu, os.sched_getaffinity(0)),
            service.limits.open_files,
        )

    def _believe(self, pid: int) -> None:
        if self._notify is not None:
            self._notify.session = pid

    def _start_probe(self) -> None:
        service, port = self.service, self.prepared.port
        try:
            probe = build_probe(service, port, self._environ, self.senses.facts, self.around.parent)
        except (LookupError, OSError, ValueError) as error:
            self.senses.health.detail = f"cannot be probed: {error}"
            self.log.mark(self.senses.health.detail)
            return
        rhythm = (service.health.period_s, probe_limit_s(service))
        self.senses.start_probe(probe, *rhythm, self.around.tasks, self.name)

    def _exited(self, generation: int, status: ExitStatus, is_empty: bool) -> None:
        charge = self.life.charge
        outcome = self._judge(status) if charge is None else charge
        loop_time = asyncio.get_running_loop().time()
        after_s = None if self.spawned_at is None else loop_time - self.spawned_at
        tail = () if self._output is None else self._output.stderr_tail
        self._record_exit(outcome, status, after_s, tail)
        if is_empty:
            self._close_generation()
        self.log.mark(f"generation {generation} ended: {status.text} after {after_s or 0.0:.1f} s")
        is_over = is_empty and not self.prepared.gpu.ids
        self._post(Exited(generation, outcome, status.text, is_over))
        if is_empty and not is_over:
            self._await_vram(generation)

    def _judge(self, status: ExitStatus) -> Outcome:
        if status.signal is None:
            return Outcome("exited", status.code)
        is_oom = status.signal == signal.SIGKILL and self.around.oom.has_risen()
        return Outcome("oom" if is_oom else "killed")

    def _emptied(self, generation: int) -> None:
        self._close_generation()
        if self.prepared.gpu.ids:
            self._await_vram(generation)
        else:
            self._post(GroupEmptied(generation))

    def _await_vram(self, generation: int) -> None:
        """A child is not over while its memory is not free: a sibling beside it might not fit."""

        async def wait() -> None:
            held = await self.gpu.wait_released(self.prepared.gpu)
            if held is not None:
                self.log.mark(f"nothing of generation {generation} lives, but {held}")
            self._post(GroupEmptied(generation))

        self.around.tasks.create_task(wait(), name=f"vram of {self.name}")

    def _device_told(self, device: str) -> None:
        if text := find_mismatch(self.service, self.prepared.gpu, device):
            self._post(DeviceMismatched(self.life.generation, text))

    def _close_generation(self) -> None:
        """Nobody of this generation lives: what its pipes still hold is all there will be."""
        self.tree = self.spawned_at = self.usage = None
        if self._output is not None:
            self._output.close()
            self._output = None
        if self._notify is not None:
            self._notify.session = None
        self.around.journal()

    def _record_exit(
        self, outcome: Outcome, status: ExitStatus, after_s: float | None, tail: Sequence[str]
    ) -> None:
        self.exits_total += 1
        self.last_exit = LastExit(outcome, status, stamp(time.time()), after_s, tail, self.diagnosis)

    async def _diagnose(self, why: str) -> None:
        generation, hung = self.life.generation, self._as_hung(why)
        if hung is not None:
            try:
                self.diagnosis = str(await self.around.diagnostician.examine(hung))
            except OSError as error:
                self.log.mark(f"no diagnosis could be written: {error}")
            else:
                self.log.mark(f"about to be ended: {why}; see {self.diagnosis}")
        self._post(Diagnosed(generation))

    def _as_hung(self, why: str) -> HungChild | None:
        """The child as whoever looks at it needs it; None when its leader has just ended."""
        leader = None if self.tree is None else read_stat(self.tree.pid)
        if self.tree is None or leader is None or leader.started_ticks != self.tree.started_ticks:
            return None
        return HungChild(
            name=self.name,
            generation=self.life.generation,
            why=why,
            leader=leader,
            members=self.tree.members(),
            dumps_stacks=self.service.server is not None,
            output=self._output,
            settings=self.service.options,
            environ=self._environ,
            gpus=self.around.gpus.report,
        )

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _post(self, event: Event) -> None:
        self.around.post(self.name, event)
