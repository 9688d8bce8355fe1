"""The commands of the control socket: one typed request in, one payload out, or a LauncherError.

Decides what each command needs and does; knows nothing of sockets, frames or subscriptions. Names of services
are checked before anything is done.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from launcher.errors import ActionFailed, LauncherError
from launcher.reconcile import Action
from launcher.running.publisher import Publisher
from launcher.running.reload import Reconciler
from launcher.running.stack import Stack
from launcher.snapshot import StatusDocument

__all__ = ["BadRequest", "Commands"]

Payload = dict[str, Any]
_MOST_REPLICAS = 1024


class BadRequest(LauncherError):
    """A control request that cannot be understood."""

    code = "invalid_request"
    exit_code = 2

    def __init__(self, text: str, code: str = "invalid_request") -> None:
        """`code` is one of protocol.md section 3: invalid_json, invalid_request, unknown_command."""
        super().__init__(text)
        self.text = text
        self.code = code

    def __str__(self) -> str:
        return self.text


class Commands:
    """What may be asked of a running supervisor."""

    def __init__(
        self,
        stack: Stack,
        reconciler: Reconciler,
        publisher: Publisher,
        status: Callable[[], StatusDocument],
        end_within: Callable[[float | None], None],
        reload_self: Callable[[], Awaitable[str]],
    ) -> None:
        """`end_within` begins the orderly end, with an optional limit in seconds after which it is forced;
        `reload_self` lets another supervisor take over, and returns the version of that.
        """
        self._stack = stack
        self._reconciler = reconciler
        self._publisher = publisher
        self._status = status
        self._end_within = end_within
        self._reload = reload_self
        self._commands: dict[str, Callable[[Mapping[str, Any]], Awaitable[Payload]]] = {
            "snapshot": self._snapshot,
            "up": self._up,
            "start": self._start,
            "stop": self._stop,
            "restart": self._restart,
            "scale": self._scale,
            "down": self._down,
            "reload_self": self._reload_self,
            "events": self._events,
        }

    async def answer(self, kind: str, data: Mapping[str, Any]) -> Payload:
        """Return the payload of a success reply; raises LauncherError for a failure."""
        command = self._commands.get(kind)
        if command is None:
            known = ", ".join([*self._commands, "subscribe"])
            raise BadRequest(f"Unknown command type: {kind[:80]}; there are {known}", "unknown_command")
        if self._stack.is_ending and kind not in ("snapshot", "events", "down"):
            raise ActionFailed("the stack is going down", hint="run  lucid-launch up  once it is down")
        return await command(data)

    async def _snapshot(self, data: Mapping[str, Any]) -> Payload:
        return {"snapshot": self._status()}

    async def _up(self, data: Mapping[str, Any]) -> Payload:
        names = _services(data)
        actions, notes = await self._reconciler.up(names, strict_ports=data.get("strict_ports") is True)
        return {"actions": _told(actions), "notes": notes}

    async def _start(self, data: Mapping[str, Any]) -> Payload:
        names = _services(data)
        if any(name not in self._stack.services for name in names) or not names:
            await self._reconciler.up(names)
        else:
            self._stack.start(names)
        return {"accepted": True}

    async def _stop(self, data: Mapping[str, Any]) -> Payload:
        names = _services(data) or list(self._stack.services)
        self._stack.check_known(names)
        self._stack.stop([name for name in names if name in self._stack.services])
        return {"accepted": True}

    async def _restart(self, data: Mapping[str, Any]) -> Payload:
        names = _services(data) or list(self._stack.services)
        new = [name for name in names if name not in self._stack.services]
        if new:
            # They come first, so that one that the file does not have either leaves all as they are.
            await self._reconciler.up(new)
        here = [name for name in names if name not in new]
        if here:
            await self._reconciler.up(here, restart=here)
        return {"accepted": True}

    async def _scale(self, data: Mapping[str, Any]) -> Payload:
        name, replicas = data.get("service"), data.get("replicas")
        if not isinstance(name, str):
            raise BadRequest("'service' must be the name of one")
        if type(replicas) is not int or not 1 <= replicas <= _MOST_REPLICAS:
            raise BadRequest(f"'replicas' must be a number from 1 to {_MOST_REPLICAS}")
        self._stack.check_known([name])
        if name not in self._stack.services:
            raise ActionFailed(f"{name} has not been started", hint=f"run  lucid-launch start {name}  first")
        actions, notes = await self._reconciler.scale(name, replicas)
        return {"actions": _told(actions), "notes": notes}

    async def _down(self, data: Mapping[str, Any]) -> Payload:
        timeout_s = data.get("timeout_s")
        # NaN is no number of seconds either, and no comparison with it is true.
        if timeout_s is not None and not (type(timeout_s) in (int, float) and timeout_s >= 0):
            raise BadRequest("'timeout_s' must be a number of seconds")
        self._end_within(timeout_s)
        return {"accepted": True}

    async def _reload_self(self, data: Mapping[str, Any]) -> Payload:
        version = await self._reload()
        return {"accepted": True, "pid": os.getpid(), "version": version}

    async def _events(self, data: Mapping[str, Any]) -> Payload:
        since = data.get("since", 0)
        if type(since) is not int:
            raise BadRequest("'since' must be a revision number")
        return {"events": self._publisher.events_since(since)}


def _told(actions: Sequence[Action]) -> list[dict[str, str]]:
    return [{"service": action.service, "action": action.kind, "reason": action.reason} for action in actions]


def _services(data: Mapping[str, Any]) -> list[str]:
    names = data.get("services")
    if names is None:
        return []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadRequest("'services' must be a list of names")
    return list(dict.fromkeys(names))
