"""Bringing the running stack to what the file says: read, check, reserve, and only then change anything.

Decides that a bad file changes nothing, that only what changed is restarted, and which children come and go.
The reading and checking is a planner process's; the change happens on the loop in one piece.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launcher.children.runtime import ChildRuntime
from launcher.errors import PortInUse
from launcher.planning.prepared import PreparedChild
from launcher.reconcile import Action, plan_from_settings
from launcher.records import to_json
from launcher.running.file_plan import FilePlan, PlanRequest
from launcher.running.installer import Installer
from launcher.running.listing import list_service
from launcher.running.metrics_port import MetricsPort
from launcher.running.stack import Stack

__all__ = ["Agreed", "Reconciler"]

MakeRuntime = Callable[[PreparedChild], ChildRuntime]


@dataclass
class Agreed:
    """What the stack and the file have agreed on so far; all of it is JSON."""

    project: str = ""
    scaled: dict[str, int] = field(default_factory=dict)
    """Replicas by service where they are not the file's."""
    digests: dict[str, str] = field(default_factory=dict)
    """Of the file, by service, as it was when the service was last brought in line with it."""
    metrics_port: int | None = None


class Reconciler:
    """Carries out `up`, `restart` and `scale` on a running stack, one at a time."""

    def __init__(
        self,
        stack: Stack,
        config_path: Path,
        ask: Callable[[PlanRequest], Awaitable[FilePlan]],
        make_runtime: MakeRuntime,
        metrics_port: MetricsPort,
    ) -> None:
        """Change `stack` as the file at `config_path` says; `ask` plans, `make_runtime` makes a new child."""
        self._metrics_port = metrics_port
        self.agreed = Agreed()
        self._stack = stack
        self._path = config_path
        self._ask = ask
        self._make_runtime = make_runtime
        self._lock = asyncio.Lock()

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
            digest = await asyncio.to_thread(self._digest)
            if restart and self._is_as_read(names, digest):
                return [self._restart_unchanged(name) for name in names], []
            scaled = self.agreed.scaled if restart else {}
            request = self._request(names, strict_ports, with_needs=not restart, scaled=scaled)
            plan = await self._ask(request)
            await self._move_metrics(plan)
            self.agreed.project = plan.project
            self.agreed.digests |= dict.fromkeys(plan.chosen, digest)
            if not restart:
                kept = {name: n for name, n in self.agreed.scaled.items() if name not in plan.chosen}
                self.agreed.scaled = kept
            self._stack.listed = {name: list_service(each) for name, each in plan.services.items()}
            return self._carry_out(plan, bool(names), set(restart)), list(plan.notes)

    async def scale(self, name: str, replicas: int) -> tuple[list[Action], list[str]]:
        """Give a running service so many replicas until the next `up`; nothing else of it changes.

        Raises LauncherError (ConfigInvalid where its ports or GPUs do not allow it); then nothing has
        changed.
        """
        async with self._lock:
            service = to_json(self._stack.services[name])
            request = self._request([name], False, with_needs=False, scaled={name: replicas}, service=service)
            plan = await self._ask(request)
            self.agreed.scaled[name] = replicas
            return self._carry_out(plan, True, set()), list(plan.notes)

    async def wait_idle(self) -> None:
        """Return when nothing is being carried out."""
        async with self._lock:
            return

    async def _move_metrics(self, plan: FilePlan) -> None:
        """The last thing that can fail: a port that is taken leaves everything as it was."""
        try:
            await self._metrics_port.listen_on(plan.metrics_port, plan.metrics_where)
        except PortInUse:
            plan.close_fresh(self._stack.held_sockets())
            raise
        self.agreed.metrics_port = plan.metrics_port

    def _request(
        self,
        names: Sequence[str],
        strict_ports: bool,
        *,
        with_needs: bool,
        scaled: dict[str, int],
        service: Any = None,
    ) -> PlanRequest:
        stack = self._stack
        return PlanRequest(
            path=self._path,
            names=names,
            with_needs=with_needs,
            strict_ports=strict_ports,
            scaled=scaled,
            service=service,
            running={name: list(stack.of(name)) for name in stack.services},
            held=stack.held_sockets(),
            seats=stack.seats(),
            own_pids=[entry.pid for entry in stack.journal_entries()],
        )

    def _carry_out(self, plan: FilePlan, is_partial: bool, restart: set[str]) -> list[Action]:
        # With nothing named, whoever is not enabled is looked at too: it may run, and then says why it stops.
        meant = plan.chosen if is_partial else plan.services.keys()
        wanted = {name: service for name, service in plan.services.items() if name in meant}
        running = {
            name: self._stack.settings(name)
            for name in self._stack.services
            if self._is_up(name) and (name in plan.chosen or not is_partial)
        }
        actions = [_forced(action, restart) for action in plan_from_settings(running, wanted)]
        installer = Installer(self._stack, self._make_runtime, plan)
        for action in actions:
            installer.carry_out(action)
        if not is_partial:
            installer.drop_all_but(plan.services)
        installer.close_unused()
        return actions

    def _digest(self) -> str:
        try:
            return hashlib.sha256(self._path.read_bytes()).hexdigest()
        except OSError as error:
            return f"unreadable: {error}"

    def _is_as_read(self, names: Sequence[str], digest: str) -> bool:
        """Whether reading the file again would say the same of these services: it is the same file."""
        return all(name in self._stack.services and self.agreed.digests.get(name) == digest for name in names)

    def _restart_unchanged(self, name: str) -> Action:
        self._stack.restart(name)
        return Action(name, "restart", "restart requested")

    def _is_up(self, service: str) -> bool:
        """A failed service counts as missing, so that `up` tries it again."""
        lives = [child.life for child in self._stack.of(service).values()]
        return any(life.desired_up for life in lives) and all(life.state != "failed" for life in lives)


def _forced(action: Action, restart: Collection[str]) -> Action:
    if action.service in restart and action.kind in ("keep", "update"):
        return Action(action.service, "restart", "restart requested")
    return action
