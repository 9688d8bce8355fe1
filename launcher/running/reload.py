"""Bringing the running stack to what the file says: read, check, reserve, and only then change anything.

Decides that a bad file changes nothing, that only what changed is restarted, and which children come and go.
The reading and checking blocks, so it happens in one named thread; the change happens on the loop in one
piece.
"""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from launcher.children.probe import probe_kind
from launcher.children.runtime import ChildRuntime
from launcher.config import Config, load_config
from launcher.configuration.models import Service, child_names
from launcher.errors import NoSuchService
from launcher.gpus import GpuReader
from launcher.lifecycle_values import Rules, RulesChanged
from launcher.planning.preflight import Prepared, PreparedChild, prepare
from launcher.reconcile import Action, plan
from launcher.restart_policy import RestartRules
from launcher.running.ordering import with_dependencies
from launcher.running.stack import Stack

__all__ = ["Reconciler", "rules_of"]


def rules_of(service: Service) -> Rules:
    """Return what the configuration of a service says about a child's life."""
    restart, backoff = service.restart, service.restart.backoff
    return Rules(
        restart=RestartRules(
            policy=restart.policy,
            initial_s=backoff.initial_s,
            max_s=backoff.max_s,
            factor=backoff.factor,
            jitter=backoff.jitter,
            max_failures=restart.max_failures,
            stable_after_s=restart.stable_after_s,
        ),
        startup_budget_s=service.health.startup_budget_s,
        grace_s=service.stop.grace_s,
        failures=service.health.failures,
        is_probed=probe_kind(service) is not None,
        has_dependencies=bool(service.depends_on),
    )


class Reconciler:
    """Carries out `up` and `restart` on a running stack, one at a time."""

    def __init__(
        self,
        stack: Stack,
        config_path: Path,
        environ: Mapping[str, str],
        make_runtime: Callable[[PreparedChild], ChildRuntime],
        gpu_reader: GpuReader,
    ) -> None:
        """Change `stack` as the file at `config_path` says; `make_runtime` makes a child that is new."""
        self._gpu_reader = gpu_reader
        self._stack = stack
        self._path = config_path
        self._environ = environ
        self._make_runtime = make_runtime
        self._lock = asyncio.Lock()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="preflight")
        self.project = ""

    async def up(
        self, names: Sequence[str], *, strict_ports: bool = False, restart: Collection[str] = ()
    ) -> tuple[list[Action], list[str]]:
        """Reconcile these services and what they need, or all; return what was done and the notes for the
        user.

        Services in `restart` get a new generation even when they are unchanged. Raises LauncherError, and
        then nothing has changed.
        """
        async with self._lock:
            loop = asyncio.get_running_loop()
            config, chosen = await loop.run_in_executor(self._worker, self._read, tuple(names), not restart)
            prepared = await loop.run_in_executor(
                self._worker, partial(self._prepare, config, chosen, strict_ports)
            )
            return self._apply(prepared, chosen, bool(names), set(restart)), prepared.notes

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

    def _prepare(self, config: Config, chosen: set[str], strict_ports: bool) -> Prepared:
        return prepare(
            config,
            held=self._stack.held_sockets(),
            strict_ports=strict_ports,
            environ=self._environ,
            only=chosen,
            own_pids=[entry.pid for entry in self._stack.journal_entries()],
            seats=self._stack.seats(),
            gpu_reader=self._gpu_reader,
        )

    def _apply(
        self, prepared: Prepared, chosen: set[str], is_partial: bool, restart: set[str]
    ) -> list[Action]:
        wanted = {name: service for name, service in prepared.config.services.items() if name in chosen}
        running = {
            name: service
            for name, service in self._stack.services.items()
            if self._is_up(name) and (name in chosen or not is_partial)
        }
        installed: set[str] = set()
        actions = [_forced(action, restart) for action in plan(running, wanted)]
        for action in actions:
            if action.kind in ("start", "restart"):
                self._install(action.service, wanted[action.service], prepared, installed)
            self._carry_out(action, wanted)
        self._drop_the_gone(prepared.config.services, is_partial)
        _close_unused(prepared, installed, self._stack.held_sockets())
        return actions

    def _is_up(self, service: str) -> bool:
        """A failed service counts as missing, so that `up` tries it again."""
        lives = [child.life for child in self._stack.of(service).values()]
        return any(life.desired_up for life in lives) and all(life.state != "failed" for life in lives)

    def _carry_out(self, action: Action, wanted: Mapping[str, Service]) -> None:
        stack, name = self._stack, action.service
        match action.kind:
            case "start":
                stack.start([name])
            case "restart":
                stack.restart(name)
                stack.start([name])
            case "stop":
                stack.forget(list(stack.of(name)))
            case "update":
                self._update(name, wanted[name])
            case "keep":
                pass

    def _install(self, name: str, service: Service, prepared: Prepared, installed: set[str]) -> None:
        """Give the service's children their new settings and sockets; they hold from the next spawn on."""
        names = child_names(service)
        self._stack.forget([child for child in self._stack.of(name) if child not in names])
        for child_name in names:
            installed.add(child_name)
            reserved = prepared.children[child_name]
            child = self._stack.children.get(child_name)
            if child is None:
                self._stack.adopt(self._make_runtime(reserved))
                continue
            _close_all(held for held in child.prepared.sockets if held not in reserved.sockets)
            child.prepared = reserved
            self._refresh(child, service)
            self._stack.adopt(child)

    def _update(self, name: str, service: Service) -> None:
        self._stack.services[name] = service
        for child in self._stack.of(name).values():
            self._refresh(child, service)

    def _refresh(self, child: ChildRuntime, service: Service) -> None:
        child.service = service
        child.log.configure(service.logs.max_size_bytes, service.logs.backups)
        self._stack.post(child.name, RulesChanged(rules_of(service)))

    def _drop_the_gone(self, wanted: Mapping[str, Service], is_partial: bool) -> None:
        """Services that the file no longer has are dropped even when they were stopped before."""
        if not is_partial:
            for name in [name for name in self._stack.services if name not in wanted]:
                self._stack.forget(list(self._stack.of(name)))


def _forced(action: Action, restart: Collection[str]) -> Action:
    if action.service in restart and action.kind in ("keep", "update"):
        return Action(action.service, "restart", "restart requested")
    return action


def _close_unused(
    prepared: Prepared, installed: Collection[str], held: Mapping[str, tuple[socket.socket, ...]]
) -> None:
    """Close what was bound for children that stay as they are."""
    kept = {id(one) for sockets in held.values() for one in sockets}
    for name, child in prepared.children.items():
        if name not in installed:
            _close_all(one for one in child.sockets if id(one) not in kept)


def _close_all(sockets: Iterable[socket.socket]) -> None:
    for one in sockets:
        one.close()
