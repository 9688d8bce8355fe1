"""One child at work: performs the effects that its lifecycle asks for, and turns what happens into events.

Holds everything of a child that is not decision: processes, pipes, sockets, the probing task, the timer. It
never changes `life`; only the supervisor does. Does not know other children, policies or the control socket.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.children.door import Door
from launcher.children.exits import Exits
from launcher.children.gpu_use import ChildGpu, GpuGone, find_mismatch
from launcher.children.handover import HandedProcess
from launcher.children.hung import hung_child
from launcher.children.launching import build_request, set_socket_mode
from launcher.children.life_timer import LifeTimer
from launcher.children.parent import Born
from launcher.children.patience import starved_s
from launcher.children.probe import build_probe, probe_limit_s, probe_place
from launcher.children.senses import Senses
from launcher.children.surroundings import Surroundings
from launcher.children.usage import Usage
from launcher.lifecycle_values import (
    CancelTimer,
    Child,
    DeviceMismatched,
    Diagnose,
    Diagnosed,
    Effect,
    Event,
    Kill,
    SetTimer,
    Spawn,
    Spawned,
    StartProbe,
    StopProbe,
    Terminate,
)
from launcher.logfiles import LogFile
from launcher.notify import NotifySocket
from launcher.output import OutputReader, open_spools
from launcher.planning.prepared import PreparedChild
from launcher.processes import ProcessTree
from launcher.spawning import SpawnError, SpawnRequest
from launcher.spool import Spool

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
    spawned_at: float | None = None
    spawned_service: Service | None = None
    """The settings that the last generation was spawned with."""
    tree: ProcessTree | None = None
    nonce: str = ""
    diagnosis: str | None = None
    """The bundle of the generation that was last looked at, until the next one is spawned."""
    notify: NotifySocket | None = None
    """Where the child tells of itself, from its first spawn on."""
    output: OutputReader | None = None
    spools: list[Spool] = field(default_factory=list)
    """What was read of stdout and stderr and is not in the log yet, from the first spawn on."""
    _environ: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.senses = Senses(self.post, self.around.changed, self._device_told, self.starved_s)
        self.gpu = ChildGpu(self.around.gpus)
        self.exits = Exits(self)
        self.door = Door(self)
        self._timer = LifeTimer(self)

    @property
    def name(self) -> str:
        """The child's name (`inference.0`)."""
        return str(self.prepared.name)

    @property
    def probed_at(self) -> tuple[str, int] | None:
        """Host and port at which it is asked how it is; None when nobody connects to it for that."""
        return probe_place(self.service, self.prepared.port, self.prepared.private_port)

    def perform(self, effect: Effect) -> None:
        """Do what the lifecycle asks for; never waits."""
        # Before the spawn: what the child can accept must not be accepted here.
        self.door.mind()
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
                self._timer.set(kind, delay_s)
            case CancelTimer():
                self._timer.cancel()

    def post(self, event: Event) -> None:
        """Tell the lifecycle of something."""
        self.around.post(self.name, event)

    def starved_s(self) -> float:
        """Return for how long the running generation has waited for a processor so far."""
        return 0.0 if self.tree is None else starved_s(self.tree.pid)

    def configure(self, service: Service, prepared: PreparedChild) -> None:
        """Take over new settings, which hold from the next spawn on; sockets that are given up are closed."""
        given_up = [held for held in self.prepared.sockets if held not in prepared.sockets]
        if given_up:
            self.door.shut()
        self.service, self.prepared = service, prepared
        self.door.mind()
        for held in given_up:
            held.close()
        self.log.configure(service.logs.max_size_bytes, service.logs.backups)

    def rename(self, name: str) -> None:
        """Go on under another name, log included; the running process keeps the name that it was told."""
        self.prepared = replace(self.prepared, name=name)
        self.log.move_to(self.around.logs / f"{name}.log")
        self.around.journal()

    def close(self) -> None:
        """Give back what outlives the generations; the child must be at rest."""
        self._timer.cancel()
        self.door.leave()
        self.senses.stop_probe()
        if self.notify is not None:
            self.notify.close()
        self.drain()
        for spool in self.spools:
            spool.close()
        self.log.close()

    async def _spawn(self, generation: int) -> None:
        self.senses.begin(generation)
        self.usage, self.diagnosis = None, None
        self.spawned_service = self.service
        try:
            await self._take_seat()
            request = self._request(generation)
            set_socket_mode(self.service, self.prepared)
            born = await self.around.parent.start(
                request,
                on_born=self._believe,
                on_exit=lambda status, is_empty: self.exits.exited(generation, status, is_empty),
                on_empty=lambda: self.exits.emptied(generation),
                about={"child": self.name, "generation": generation},
            )
        except (SpawnError, GpuGone, OSError, ValueError) as error:
            # ValueError: what `env_file` holds cannot be an environment.
            text = str(error) if isinstance(error, SpawnError | GpuGone) else f"cannot start: {error}"
            self.exits.not_started(generation, text)
            return
        self._environ = request.environ
        self.spawned_at = asyncio.get_running_loop().time()
        self._attend(born)
        self.log.mark(f"generation {generation} started, pid {born.tree.pid}")
        self.post(Spawned(generation, born.tree.pid))
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
                on_exit=lambda status, is_empty: self.exits.exited(life.generation, status, is_empty),
                on_empty=lambda: self.exits.emptied(life.generation),
                has_told_exit=life.leader_exited,
            )
        )
        self._believe(process.pid)
        if life.spawning:
            self.post(Spawned(life.generation, process.pid))
        elif life.state in ("starting", "ready", "unhealthy") and life.rules.is_probed:
            self._start_probe()

    def drain(self) -> None:
        """Read what the pipes still hold: everybody who could write is gone."""
        if self.output is not None:
            self.output.close()
            self.output = None

    def hear(self, held: socket.socket | None = None) -> None:
        """Listen for sd_notify datagrams, on the socket of the supervisor before where there is one."""
        # The guardian's word that a child exists must be heard before the first word of that child.
        before = self.around.parent.listen
        self.notify = NotifySocket(
            self.notify_address, self.senses.notified, before, self.around.remember, held
        )
        if held is None:
            self.around.parent.keep(f"notify {self.name}", [self.notify.fileno()])

    def hold_spools(self, held: Sequence[int] = ()) -> None:
        """Let the guardian hold what is read of the child's output until it is in the log.

        `held` are the spools of the supervisor before this one.
        """
        try:
            self.spools = open_spools(self.log, held)
        except OSError as error:
            self.log.mark(f"no memory for the output's spools: {error}")
            return
        self.around.parent.keep(f"spool {self.name}", [spool.fileno() for spool in self.spools])

    def _request(self, generation: int) -> SpawnRequest:
        if self.notify is None:
            self.hear()
        return build_request(self.service, self.prepared, generation, self.notify_address, self.around)

    def _attend(self, born: Born) -> None:
        self.tree, self.nonce = born.tree, born.nonce
        if not self.spools:
            self.hold_spools()
        fds = born.stdout_fd, born.stderr_fd
        self.output = OutputReader(*fds, self.log, self.around.changed, self.spools)

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
        service = self.service
        try:
            probe = build_probe(service, self.probed_at, self._environ, self.senses.facts, self.around.parent)
        except (LookupError, OSError, ValueError) as error:
            self.senses.health.detail = f"cannot be probed: {error}"
            self.log.mark(self.senses.health.detail)
            return
        rhythm = (service.health.period_s, probe_limit_s(service))
        self.senses.start_probe(probe, *rhythm, self.around.tasks, self.name)

    def _device_told(self, device: str) -> None:
        if text := find_mismatch(self.service, self.prepared.gpu, device):
            self.post(DeviceMismatched(self.life.generation, text))

    async def _diagnose(self, why: str) -> None:
        generation, hung = self.life.generation, hung_child(self, self.output, self._environ, why)
        if hung is not None:
            try:
                self.diagnosis = str(await self.around.diagnostician.examine(hung))
            except OSError as error:
                self.log.mark(f"no diagnosis could be written: {error}")
            else:
                self.log.mark(f"about to be ended: {why}; see {self.diagnosis}")
        self.post(Diagnosed(generation))
