"""Carrying out a plan on the running stack: children come, go, take over new settings, or go on under a new
name.

Decides which of the prepared sockets are taken and which are closed again. Everything here happens on the
loop in one piece, after all that can fail has been done.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from launcher.children.probe import probe_kind
from launcher.children.runtime import ChildRuntime
from launcher.configuration.needs import child_names, successions
from launcher.lifecycle_values import Rules, RulesChanged, StartRequested
from launcher.planning.prepared import PreparedChild
from launcher.reconcile import Action
from launcher.restart_policy import RestartRules
from launcher.running.file_plan import FilePlan
from launcher.running.stack import Stack

if TYPE_CHECKING:
    from launcher.configuration.models import Service

__all__ = ["Installer", "rules_of"]


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
            is_endless=service.server is not None,
        ),
        startup_budget_s=service.health.startup_budget_s,
        grace_s=service.stop.grace_s,
        failures=service.health.failures,
        is_probed=probe_kind(service) is not None,
        min_uptime_s=service.health.min_uptime_s,
        has_dependencies=bool(service.depends_on),
    )


class Installer:
    """Brings one prepared plan into the stack; use it once."""

    def __init__(
        self, stack: Stack, make_runtime: Callable[[PreparedChild], ChildRuntime], plan: FilePlan
    ) -> None:
        """Take children from `plan`; `make_runtime` makes one that is new."""
        self._stack = stack
        self._make_runtime = make_runtime
        self._plan = plan
        self._installed: set[str] = set()

    def carry_out(self, action: Action) -> None:
        """Do what one action says."""
        stack, name = self._stack, action.service
        match action.kind:
            case "start":
                self._install(name, replaces=True)
                stack.start([name])
            case "restart":
                self._install(name, replaces=True)
                stack.restart(name)
            case "stop":
                stack.forget(list(stack.of(name)))
            case "update":
                for child in self._install(name, replaces=False):
                    stack.post(child, StartRequested())
            case "keep":
                pass

    def drop_all_but(self, wanted: Collection[str]) -> None:
        """Services that the file no longer has are dropped even when they were stopped before."""
        for name in [name for name in self._stack.services if name not in wanted]:
            self._stack.forget(list(self._stack.of(name)))

    def close_unused(self) -> None:
        """Close what was bound for children that stay as they are."""
        kept = {id(one) for sockets in self._stack.held_sockets().values() for one in sockets}
        for name, child in self._plan.children.items():
            if name not in self._installed:
                _close_all(one for one in child.sockets if id(one) not in kept)

    def _install(self, name: str, *, replaces: bool) -> list[str]:
        """Give the service's children its new settings, which hold from their next spawn on; returns who is
        new.

        `replaces`: those that run already get the sockets and GPUs that were prepared too.
        """
        stack, service = self._stack, self._plan.services[name]
        for old, new in successions(service, stack.of(name)).items():
            stack.rename(old, new)
        names = child_names(service)
        stack.services[name] = service
        stack.forget([child for child in stack.of(name) if child not in names])
        return [child for child in names if self._install_child(child, service, replaces=replaces)]

    def _install_child(self, name: str, service: Service, *, replaces: bool) -> bool:
        reserved = self._plan.children[name]
        child = self._stack.children.get(name)
        if child is None:
            self._installed.add(name)
            return self._stack.adopt(self._make_runtime(reserved))
        if replaces:
            self._installed.add(name)
            child.configure(service, reserved)
        else:
            kept = replace(child.prepared, service=service, replica=reserved.replica)
            child.configure(service, kept)
        self._stack.post(name, RulesChanged(rules_of(service)))
        return self._stack.adopt(child)


def _close_all(sockets: Iterable[socket.socket]) -> None:
    for one in sockets:
        one.close()
