"""Bringing the running stack to what the file says: read, check, reserve, and only then change anything.

Decides that a bad file changes nothing, that only what changed is restarted, and which children come and go.
The reading and checking blocks, so it happens in one named thread; the change happens on the loop in one
piece.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from launcher.children.runtime import ChildRuntime
from launcher.config import Config, load_config, locate_problem
from launcher.configuration.checks import replica_problems
from launcher.errors import ConfigInvalid, NoSuchService, PortInUse
from launcher.gpus import GpuReader
from launcher.planning.preflight import Prepared, PreparedChild, prepare
from launcher.reconcile import Action, plan_from_settings
from launcher.running.installer import Installer, successions
from launcher.running.metrics_port import MetricsPort
from launcher.running.ordering import with_dependencies
from launcher.running.stack import Stack

__all__ = ["Reconciler"]


class Reconciler:
    """Carries out `up`, `restart` and `scale` on a running stack, one at a time."""

    def __init__(
        self,
        stack: Stack,
        config_path: Path,
        environ: Mapping[str, str],
        make_runtime: Callable[[PreparedChild], ChildRuntime],
        gpu_reader: GpuReader,
        metrics_port: MetricsPort,
    ) -> None:
        """Change `stack` as the file at `config_path` says; `make_runtime` makes a child that is new."""
        self._gpu_reader = gpu_reader
        self._metrics_port = metrics_port
        self._stack = stack
        self._path = config_path
        self._environ = environ
        self._make_runtime = make_runtime
        self._lock = asyncio.Lock()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="preflight")
        self._config: Config | None = None
        self._scaled: dict[str, int] = {}
        self.project = ""

    async def up(
        self, names: Sequence[str], *, strict_ports: bool = False, restart: Collection[str] = ()
    ) -> tuple[list[Action], list[str]]:
        """Reconcile these services and what they need, or all; return what was done and the notes for the
        user.

        Services in `restart` get a new generation even when they are unchanged, and keep the number of
        replicas that they were scaled to; all others go by the file. Raises LauncherError, and then nothing
        has changed.
        """
        async with self._lock:
            config, chosen = await self._in_thread(self._read, tuple(names), not restart)
            if restart:
                config = self._as_scaled(config)
            else:
                self._scaled = {name: n for name, n in self._scaled.items() if name not in chosen}
            return await self._reconcile(config, chosen, bool(names), set(restart), strict_ports)

    async def scale(self, name: str, replicas: int) -> tuple[list[Action], list[str]]:
        """Give a running service so many replicas until the next `up`; nothing else of it changes.

        Raises LauncherError (ConfigInvalid where its ports or GPUs do not allow it); then nothing has
        changed.
        """
        async with self._lock:
            assert self._config is not None, "a service runs, so a file was read"
            service = self._stack.services[name]
            config = dataclasses.replace(self._config, services={**self._config.services, name: service})
            problems = [
                locate_problem(config, f"services.{name}.{key}", text)
                for key, text in replica_problems(service.port, service.gpu, replicas, service.server)
            ]
            if problems:
                raise ConfigInvalid(problems)
            self._scaled[name] = replicas
            return await self._reconcile(self._as_scaled(config), {name}, True, set(), False)

    async def _reconcile(
        self, config: Config, chosen: set[str], is_partial: bool, restart: set[str], strict_ports: bool
    ) -> tuple[list[Action], list[str]]:
        wanted = {name: service for name, service in config.services.items() if name in chosen}
        renamed = {
            old: new
            for service in wanted.values()
            for old, new in successions(service, self._stack.of(service.name)).items()
        }
        prepared = await self._in_thread(self._prepare, config, chosen, strict_ports, renamed)
        try:
            await self._metrics_port.listen_on(config.metrics_port, config.mark("metrics_port"))
        except PortInUse:
            prepared.close(self._stack.held_sockets())
            raise
        self._config = config
        running = {
            name: self._stack.settings(name)
            for name in self._stack.services
            if self._is_up(name) and (name in chosen or not is_partial)
        }
        actions = [_forced(action, restart) for action in plan_from_settings(running, wanted)]
        installer = Installer(self._stack, self._make_runtime, prepared)
        for action in actions:
            installer.carry_out(action)
        if not is_partial:
            installer.drop_all_but(config.services)
        installer.close_unused()
        return actions, prepared.notes

    def _as_scaled(self, config: Config) -> Config:
        services = {
            name: service.model_copy(update={"replicas": self._scaled.get(name, service.replicas)})
            for name, service in config.services.items()
        }
        return dataclasses.replace(config, services=services)

    async def _in_thread(self, work: Callable[..., Any], *arguments: object) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._worker, partial(work, *arguments))

    def close(self) -> None:
        """Let the thread go; a check that is under way is waited for."""
        self._worker.shutdown()

    def _read(self, names: Sequence[str], with_needs: bool) -> tuple[Config, set[str]]:
        """The file, and which of its services are meant; a service named by the user counts as enabled."""
        config = load_config(self._path, self._environ)
        for name in names:
            if name not in config.services:
                raise NoSuchService(name, list(config.services))
        needs = {name: service.depends_on for name, service in config.services.items()}
        everything = [name for name, service in config.services.items() if service.enabled]
        chosen = with_dependencies(names or everything, needs if with_needs else {})
        services = {
            name: service.model_copy(update={"enabled": True}) if name in names else service
            for name, service in config.services.items()
        }
        self.project = config.project
        return dataclasses.replace(config, services=services), chosen

    def _prepare(
        self, config: Config, chosen: set[str], strict_ports: bool, renamed: Mapping[str, str]
    ) -> Prepared:
        held = self._stack.held_sockets()
        return prepare(
            config,
            held={renamed.get(child, child): sockets for child, sockets in held.items()},
            strict_ports=strict_ports,
            environ=self._environ,
            only=chosen,
            own_pids=[entry.pid for entry in self._stack.journal_entries()],
            seats={renamed.get(child, child): seat for child, seat in self._stack.seats().items()},
            gpu_reader=self._gpu_reader,
        )

    def _is_up(self, service: str) -> bool:
        """A failed service counts as missing, so that `up` tries it again."""
        lives = [child.life for child in self._stack.of(service).values()]
        return any(life.desired_up for life in lives) and all(life.state != "failed" for life in lives)


def _forced(action: Action, restart: Collection[str]) -> Action:
    if action.service in restart and action.kind in ("keep", "update"):
        return Action(action.service, "restart", "restart requested")
    return action
