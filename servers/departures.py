"""HTTP handlers end when their client has gone, as WebSocket handlers do.

ASGI tells of a departure only to who calls `receive`, and a handler that computes does not; so once a
request's body was read whole, somebody else listens for it.  Does not know what the handler does.
"""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["run_until_gone"]


async def run_until_gone(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Runs `app` for one HTTP request and cancels it when the client leaves before the answer is complete.

    Whatever `app` raises is raised; a departure is no error.
    """
    await _Watched(receive, send).run(app, scope)


class _Watched:
    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._handler: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._is_answered = False

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        self._handler = asyncio.ensure_future(_call(app, scope, self._receive_watched, self._send_noted))
        try:
            await asyncio.wait({self._handler})
        finally:
            started = {task for task in (self._handler, self._watcher) if task is not None}
            for task in started:
                task.cancel()
            await asyncio.wait(started)
        if not self._handler.cancelled():
            self._handler.result()

    async def _receive_watched(self) -> Message:
        if self._watcher is not None:
            await asyncio.wait({self._watcher})
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            self._watcher = asyncio.ensure_future(self._watch())
        return message

    async def _send_noted(self, message: Message) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            # The server reports the end of an answer as a disconnect too, and what follows it may go on.
            self._is_answered = True
        await self._send(message)

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self._handler is not None and not self._is_answered:
            self._handler.cancel()


async def _call(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    await app(scope, receive, send)
