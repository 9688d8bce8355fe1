"""One child at work: performs the effects that its lifecycle asks for, and turns what happens into events.

Holds everything of a child that is not decision: processes, pipes, sockets, the probing task, the timer. It
never changes `life`; only the supervisor does. Does not know other children, policies or the control socket.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.children.gpu_use import ChildGpu, GpuGone, find_mismatch
from launcher.children.handover import HandedProcess
from launcher.children.hung import hung_child
from launcher.children.launching import build_request
from launcher.children.parent import Born
from launcher.children.probe import build_probe, probe_limit_s
from launcher.children.senses import Senses
from launcher.children.surroundings import LastExit, Surroundings
from launcher.children.usage import Usage
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
from launcher.planning.prepared import PreparedChild
from launcher.processes import ExitStatus, ProcessTree
from launcher.restart_policy import Outcome
from launcher.spawning import SpawnError, SpawnRequest

if TYPE_CHECKING:
    from launcher.configuration.models import Service

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
    notify: NotifySocket | None = None
    """Where the child tells of itself, from its first spawn on."""
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
        if self.notify is not None:
            self.notify.close()
        self.drain()
        self.log.close()

    async def _spawn(self, generation: int) -> None:
        self.senses.begin(generation)
        self.usage, self.diagnosis = None, None
        self.spawned_service = self.service
        try:
            await self._take_seat()
            request = self._request(generation)
            born = await self.around.parent.start(
                request,
                on_born=self._believe,
                on_exit=lambda status, is_empty: self._exited(generation, status, is_empty),
                on_empty=lambda: self._emptied(generation),
                about={"child": self.name, "generation": generation},
            )
        except (SpawnError, GpuGone, OSError, ValueError) as error:
            # ValueError: what `env_file` holds cannot be an environment.
            text = str(error) if isinstance(error, SpawnError | GpuGone) else f"cannot start: {error}"
            self._record_exit(Outcome("spawn_failed"), ExitStatus(None, None), None, [text])
            self.log.mark(f"generation {generation} did not start: {text}")
            self._post(SpawnFailed(generation, text))
            return
        self._environ = request.environ
        self.spawned_at = asyncio.get_running_loop().time()
        self._attend(born)
        self.log.mark(f"generation {generation} started, pid {born.tree.pid}")
        self._post(Spawned(generation, born.tree.pid))
        self.around.journal()

    def take_over(self, process: HandedProcess) -> None:
        """Go on with a generation that was started for the supervisor before this one; `life` is as that one
        left it.
        """
        life = self.life
        with suppress(SpawnError, OSError, ValueError):
            # Only a probe that is a program needs it; a file that is broken now was good when it was read.
            self._environ = self._request(life.generation).environ
        self._attend(
            self.around.parent.adopt(
                process,
                on_exit=lambda status, is_empty: self._exited(life.generation, status, is_empty),
                on_empty=lambda: self._emptied(life.generation),
                has_told_exit=life.leader_exited,
            )
        )
        self._believe(process.pid)
        if life.spawning:
            self._post(Spawned(life.generation, process.pid))
        elif life.state in ("starting", "ready", "unhealthy") and life.rules.is_probed:
            self._start_probe()

    def lost(self, why: str) -> None:
        """Its processes are gone, and nobody has seen how they ended."""
        self._record_exit(Outcome("killed"), ExitStatus(None, signal.SIGKILL), None, ())
        self.spawned_at = None
        self.log.mark(f"generation {self.life.generation} {why}")

    def drain(self) -> None:
        """Read what the pipes still hold: everybody who could write is gone."""
        if self._output is not None:
            self._output.close()
            self._output = None

    def hear(self, held: socket.socket | None = None) -> None:
        """Listen for sd_notify datagrams, on the socket of the supervisor before where there is one."""
        # The guardian's word that a child exists must be heard before the first word of that child.
        before = self.around.parent.listen
        self.notify = NotifySocket(self.notify_address, self.senses.notified, before, held)

    def _request(self, generation: int) -> SpawnRequest:
        if self.notify is None:
            self.hear()
        return build_request(self.service, self.prepared, generation, self.notify_address, self.around)

    def _attend(self, born: Born) -> None:
        self.tree, self.nonce = born.tree, born.nonce
        self._output = OutputReader(born.stdout_fd, born.stderr_fd, self.log, self.around.changed)

    async def _take_seat(self) -> None:
        """A GPU may have gone since the child was placed."""
        before = self.prepared.gpu
        seat = await self.gpu.take_seat(self.prepared, os.environ)
        if seat is not before:
            self.prepared = replace(self.prepared, gpu=seat)
            self.log.mark(seat.note or f"moved to {', '.join(seat.ids)}")

    def _believe(self, pid: int) -> None:
        if self.notify is not None:
            self.notify.session = pid

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
        self.drain()
        if self.notify is not None:
            self.notify.session = None
        self.around.journal()

    def _record_exit(
        self, outcome: Outcome, status: ExitStatus, after_s: float | None, tail: Sequence[str]
    ) -> None:
        self.exits_total += 1
        self.last_exit = LastExit(outcome, status, stamp(time.time()), after_s, tail, self.diagnosis)

    async def _diagnose(self, why: str) -> None:
        generation, hung = self.life.generation, hung_child(self, self._output, self._environ, why)
        if hung is not None:
            try:
                self.diagnosis = str(await self.around.diagnostician.examine(hung))
            except OSError as error:
                self.log.mark(f"no diagnosis could be written: {error}")
            else:
                self.log.mark(f"about to be ended: {why}; see {self.diagnosis}")
        self._post(Diagnosed(generation))

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _post(self, event: Event) -> None:
        self.around.post(self.name, event)
