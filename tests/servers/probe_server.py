"""A tiny server over the real doors, run as a process by the tests: `python probe_server.py [argv…]`."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, Field

from servers.errors import ModelMissing, Overloaded
from servers.readiness import Readiness
from servers.serve import run
from servers.service import Command, RequestContext, Service
from servers.settings import ServerSettings, read_settings
from servers.telemetry import Telemetry


class Nothing(BaseModel):
    """A request without fields."""


class Echo(BaseModel):
    """A request that is answered with its own text."""

    text: Annotated[str, Field(min_length=1)]
    count: Annotated[int, Field(ge=1, le=1000)] = 5


def refuse(request: Nothing) -> None:
    """Have no room."""
    raise Overloaded("the probe is full", retry_after=0.5)


def build_service(
    *, name: str = "probe", load_forever: bool = False, start_error: Exception | None = None
) -> Service:
    """The probe service: `stats`, `echo`, `crash`, `full`, and `hold`, which is answered after `release`."""
    readiness = Readiness()
    telemetry = Telemetry(name, "1.0", readiness)
    held = asyncio.Event()

    async def stats(context: RequestContext, request: Nothing) -> Mapping[str, Any]:
        return {"stats": telemetry.snapshot()}

    async def echo(context: RequestContext, request: Echo) -> Mapping[str, Any]:
        return {"text": request.text, "count": request.count, "connection": context.connection_id}

    async def crash(context: RequestContext, request: Nothing) -> Mapping[str, Any]:
        raise ZeroDivisionError("a secret detail")

    async def nan(context: RequestContext, request: Nothing) -> Mapping[str, Any]:
        return {"value": float("nan")}

    async def hold(context: RequestContext, request: Nothing) -> Mapping[str, Any]:
        with context.timed("held"):
            await held.wait()
        return {"held": True}

    async def release(context: RequestContext, request: Nothing) -> Mapping[str, Any]:
        held.set()
        return {"released": True}

    async def start() -> None:
        if start_error is not None:
            raise start_error
        readiness.enter("load-model", 0.62, "56/91 MB")
        if load_forever:
            await asyncio.Event().wait()
        readiness.ready("cpu")

    return Service(
        name=name,
        version="1.0",
        commands=(
            Command("stats", Nothing, stats),
            Command("echo", Echo, echo),
            Command("crash", Nothing, crash),
            Command("nan", Nothing, nan),
            Command("hold", Nothing, hold),
            Command("full", Nothing, crash, admit=refuse),
            Command("release", Nothing, release, needs_ready=False),
        ),
        readiness=readiness,
        telemetry=telemetry,
        start=start,
    )


def main() -> int:
    """Runs the probe as the environment says: PROBE_NAME, PROBE_LOADS_FOREVER, PROBE_MODEL_MISSING."""
    error = (
        ModelMissing("model 'x' is not here", mend="copy it") if "PROBE_MODEL_MISSING" in os.environ else None
    )
    name = os.environ.get("PROBE_NAME", "probe")
    service = build_service(name=name, load_forever="PROBE_LOADS_FOREVER" in os.environ, start_error=error)
    return run(service, read_settings(ServerSettings, sys.argv[1:], os.environ), default_ports=(0,))


if __name__ == "__main__":
    raise SystemExit(main())
