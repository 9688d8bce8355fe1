"""The commands of the inference server: `embeddings`, `process`, `stats` (protocol.md section 5).

It decides what each command asks of the embedding worker and what its payload holds. Frames, ordering and
error replies belong to the session; batching belongs to the worker.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from servers.embedding.engine import ModelInfo
from servers.embedding.vectors import shorten
from servers.embedding.worker import EmbeddingWorker
from servers.errors import InvalidRequest
from servers.inference.replies import vectors_payload
from servers.inference.requests import EmbeddingsRequest, ProcessRequest, StatsRequest
from servers.inference.scoring import assess
from servers.inference.settings import InferenceSettings
from servers.protocol import require_length
from servers.service import Command, RequestContext
from servers.telemetry import Telemetry


class Handlers:
    """One method per command, around one worker."""

    def __init__(
        self,
        worker: EmbeddingWorker,
        telemetry: Telemetry,
        settings: InferenceSettings,
        child: str | None = None,
    ) -> None:
        """Answer from `worker` within the limits of `settings`; `child` is this process's name in `stats`."""
        self._child = child
        self._worker = worker
        self._telemetry = telemetry
        self._settings = settings

    def commands(self) -> tuple[Command, ...]:
        """Return the command table for the session."""
        return (
            Command("embeddings", EmbeddingsRequest, self.embeddings, admit=self.admit_embeddings),
            Command("process", ProcessRequest, self.process, admit=self.admit_process),
            Command("stats", StatsRequest, self.stats, needs_ready=False),
        )

    def admit_embeddings(self, request: EmbeddingsRequest) -> None:
        """Raise `Overloaded` while there is no room for the texts."""
        self._worker.require_room(request.text.items, priority=request.config.priority)

    def admit_process(self, request: ProcessRequest) -> None:
        """Raise `Overloaded` while there is no room for the text and its context."""
        self._worker.require_room([request.text, *request.context])

    async def embeddings(self, context: RequestContext, request: EmbeddingsRequest) -> Mapping[str, Any]:
        """Return the vector of a text or the vectors of a list of texts."""
        info, config = self._worker.info, request.config
        dimensions = choose_dimensions(info, config.dimensions)
        check_texts(request.text.items, self._settings)
        embedded = await self._worker.embed(
            request.text.items,
            truncate=config.truncate,
            normalize=config.normalize,
            priority=config.priority,
            deadline=context.deadline,
            client=context.connection_id,
        )
        embedded.timing.note_in(context.stages)
        vectors = shorten(embedded.vectors, dimensions, renormalise=config.normalize)
        return {
            **await vectors_payload(
                vectors, is_single=request.text.is_single, encoding=config.encoding, dtype=config.dtype
            ),
            "dimensions": dimensions,
            "model": info.name,
            "usage": {"tokens": sum(embedded.tokens)},
            "truncated": any(embedded.truncated),
        }

    async def process(self, context: RequestContext, request: ProcessRequest) -> Mapping[str, Any]:
        """Return a text's vector and how it stands against its context, from one pass over both."""
        texts = [request.text, *request.context]
        check_texts([request.text], self._settings)
        check_texts(request.context, self._settings, field_name="context")
        embedded = await self._worker.embed(texts, deadline=context.deadline, client=context.connection_id)
        embedded.timing.note_in(context.stages)
        assessment = assess(texts, embedded.vectors)
        return {
            "text": request.text,
            "embeddings": embedded.vectors[0],
            "significance": assessment.significance,
            "surprise": assessment.surprise,
            "diversity": assessment.diversity,
            "predictions": [asdict(prediction) for prediction in assessment.predictions],
            "suggestions": assessment.suggestions(),
            "dimensions": self._worker.info.dimensions,
            "model": self._worker.info.name,
            "usage": {"tokens": sum(embedded.tokens)},
            "truncated": any(embedded.truncated),
        }

    async def stats(self, context: RequestContext, request: StatsRequest) -> Mapping[str, Any]:
        """Return what the server and its worker count; answered while the model still loads, too."""
        shared, worker = self._telemetry.snapshot(), self._worker.stats()
        latency_ms = {**shared["latency_ms"], **worker["latency_ms"]}
        device = worker["device"] or shared["device"]
        own = {"latency_ms": latency_ms, "device": device, "child": self._child}
        return {"stats": {**shared, **worker, **own}}


def choose_dimensions(info: ModelInfo, wanted: int | None, *, field_name: str = "config.dimensions") -> int:
    """Return the width of the vectors to send. Raises `InvalidRequest` naming what the model allows."""
    if wanted is None or info.allows(wanted):
        return wanted or info.dimensions
    raise InvalidRequest(
        f"{field_name}: {info.name} gives {info.allowed_dimensions()}; got {wanted}.",
        details={"field": field_name, "allowed": info.allowed_dimensions(), "got": wanted},
    )


def check_texts(texts: Sequence[str], settings: InferenceSettings, *, field_name: str = "text") -> None:
    """Raise `InvalidRequest` for too many texts in one request, `TooLarge` for one that is too long."""
    if len(texts) > settings.max_request_texts:
        raise InvalidRequest(
            f"{field_name}: at most {settings.max_request_texts} texts in one request; got {len(texts)}.",
            details={"field": field_name, "limit": settings.max_request_texts, "got": len(texts)},
        )
    for place, text in enumerate(texts):
        require_length(
            text,
            settings.max_text_chars,
            field_name=field_name if len(texts) == 1 else f"{field_name}.{place}",
        )
