"""A client that asks an inference server over its WebSocket."""

import json
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.client import ClientConnection

Reply = dict[str, Any]


@dataclass
class Client:
    """One WebSocket to the server."""

    socket: ClientConnection

    async def ask(self, command: str, data: dict[str, Any] | None = None, **envelope: Any) -> Reply:
        """Send one request and return its reply."""
        await self.socket.send(json.dumps({"type": command, "data": data or {}, **envelope}))
        reply: Reply = json.loads(await self.socket.recv())
        return reply
