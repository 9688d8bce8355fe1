"""The inference server put together: one worker, its commands, its routes, one `Service`.

It decides nothing but who knows whom; `servers.serve` runs the result.
"""

from typing import Any

from servers.embedding.worker import EmbeddingWorker
from servers.inference.handlers import Handlers
from servers.inference.openai import OpenAiDoor
from servers.inference.settings import InferenceSettings
from servers.readiness import Readiness
from servers.service import Service
from servers.surroundings import read_version
from servers.telemetry import Telemetry

NAME = "inference"


def build_service(
    settings: InferenceSettings, peers: dict[str, str] | None = None, child: str | None = None
) -> Service:
    """Return the inference server for `settings`; nothing is loaded before its `start` runs.

    For `stats`: `peers` maps the names of the stack's other services to their URLs, and `child` is what the
    launcher calls this process, by which replicas that share a port are told apart.
    """
    version = read_version()
    readiness = Readiness()
    telemetry = Telemetry(NAME, version, readiness, peers=peers)
    worker = EmbeddingWorker(settings, telemetry.registry)
    door = OpenAiDoor(worker, settings)

    async def start() -> None:
        await worker.start(readiness.enter)
        door.name_model(worker.info.name)
        readiness.ready(worker.info.device)

    def describe() -> dict[str, Any]:
        return {"model": door.model_names()[0], "models": list(door.model_names())}

    service = Service(
        name=NAME,
        version=version,
        commands=Handlers(worker, telemetry, settings, child).commands(),
        readiness=readiness,
        telemetry=telemetry,
        routes=door.routes(),
        start=start,
        stop=worker.close,
        is_alive=worker.is_alive,
        describe=describe,
    )
    door.attach(service)
    return service
