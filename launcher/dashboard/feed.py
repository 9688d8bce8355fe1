"""Keeps the dashboard supplied: snapshots over the control socket, again and again when the connection
ends.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from launcher.control_client import connect
from launcher.errors import LauncherError, NotRunning

FIRST_RETRY_S = 0.5
LAST_RETRY_S = 5.0


class ControlFeed:
    """Hands every snapshot to `on_snapshot`, and a sentence to `on_lost` whenever there are none."""

    def __init__(
        self,
        config_path: Path,
        on_snapshot: Callable[[dict[str, Any]], None],
        on_lost: Callable[[str], None],
        first_retry_s: float = FIRST_RETRY_S,
    ) -> None:
        self._config_path = config_path
        self._on_snapshot = on_snapshot
        self._on_lost = on_lost
        self._first_retry_s = first_retry_s
        self._retry_s = first_retry_s

    async def run(self) -> None:
        """Connect and pass snapshots on until cancelled."""
        while True:
            try:
                await self._once()
                self._on_lost("the stack has ended; waiting for it to come back")
            except NotRunning:
                self._on_lost("nothing runs; waiting for it to come back")
            except LauncherError as error:
                self._on_lost(f"disconnected: {error}; trying again")
            await asyncio.sleep(self._retry_s)
            self._retry_s = min(self._retry_s * 2, LAST_RETRY_S)

    async def command(self, kind: str, services: list[str]) -> None:
        """Send one command on a connection of its own; raises the LauncherError that it is answered with."""
        async with connect(self._config_path) as control:
            await control.request(kind, services=services)

    async def _once(self) -> None:
        """One connection, from subscribing to its end."""
        async with connect(self._config_path) as control:
            await control.request("subscribe", events=False)
            self._retry_s = self._first_retry_s
            async for frame in control.frames():
                if frame.get("type") == "snapshot":
                    self._on_snapshot(frame["snapshot"])
