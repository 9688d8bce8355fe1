"""Keeps the dashboard supplied: snapshots and events over the control socket, again and again when the
connection ends.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from launcher.control_client import connect
from launcher.errors import LauncherError, NotRunning

FIRST_RETRY_S = 0.5
LAST_RETRY_S = 5.0

Document = dict[str, Any]


class Audience(Protocol):
    """Who is told."""

    def on_snapshot(self, document: Document) -> None:
        """A new picture of the stack."""

    def on_events(self, events: Sequence[Document], *, is_all: bool) -> None:
        """State changes, oldest first; `is_all`: everything that the supervisor remembers, in place of what
        was told before.
        """

    def on_lost(self, sentence: str) -> None:
        """There will be no news for now, for this reason."""


class ControlFeed:
    """Listens to one supervisor after another."""

    def __init__(self, config_path: Path, audience: Audience, first_retry_s: float = FIRST_RETRY_S) -> None:
        self._config_path = config_path
        self._audience = audience
        self._first_retry_s = first_retry_s
        self._retry_s = first_retry_s

    async def run(self) -> None:
        """Connect and pass on what comes until cancelled."""
        while True:
            try:
                await self._once()
                self._audience.on_lost("the stack has ended; waiting for it to come back")
            except NotRunning:
                self._audience.on_lost("nothing runs; waiting for it to come back")
            except LauncherError as error:
                self._audience.on_lost(f"disconnected: {error}; trying again")
            await asyncio.sleep(self._retry_s)
            self._retry_s = min(self._retry_s * 2, LAST_RETRY_S)

    async def command(self, kind: str, services: Sequence[str]) -> None:
        """Send one command on a connection of its own; raises the LauncherError that it is answered with."""
        async with connect(self._config_path) as control:
            await control.request(kind, services=list(services))

    async def _once(self) -> None:
        """One connection, from subscribing to its end."""
        async with connect(self._config_path) as control:
            # Subscribed before the past is asked for, so that nothing falls between the two.
            await control.request("subscribe", events=True)
            past = (await control.request("events"))["events"]
            self._audience.on_events(past, is_all=True)
            seen = max((int(event.get("revision", -1)) for event in past), default=-1)
            self._retry_s = self._first_retry_s
            async for frame in control.frames():
                if frame.get("type") == "snapshot":
                    self._audience.on_snapshot(frame["snapshot"])
                elif frame.get("type") == "event" and int(frame["event"].get("revision", 0)) > seen:
                    self._audience.on_events([frame["event"]], is_all=False)
