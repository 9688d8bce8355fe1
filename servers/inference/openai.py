"""The OpenAI-compatible door: POST /v1/embeddings, GET /v1/models[/{id}] (protocol.md section 6).

It decides what of that API is offered. The vectors come from the same worker as those of the WebSocket;
origin, host and token are checked by the doors before a request gets here.
"""

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from servers.embedding.embedded import Embedded, Timing
from servers.embedding.engine import Vectors
from servers.embedding.vectors import shorten, to_base64
from servers.embedding.worker import EmbeddingWorker
from servers.errors import Cancelled, InternalError, RequestError
from servers.inference.handlers import check_texts, choose_dimensions
from servers.inference.openai_errors import ApiError, error_reply
from servers.inference.openai_requests import EmbeddingsCall, check_model, read_call
from servers.inference.pieces import written_rows
from servers.inference.settings import InferenceSettings
from servers.protocol import encode
from servers.service import Service

logger = logging.getLogger(__name__)

Answer = tuple[Mapping[str, Any], Timing | None]
"""A reply's body, and where the time went if vectors were computed."""


class OpenAiDoor:
    """The routes under /v1, around one worker."""

    def __init__(self, worker: EmbeddingWorker, settings: InferenceSettings) -> None:
        """Serve what `worker` has loaded, under its own names and the aliases in `settings`."""
        self._worker = worker
        self._settings = settings
        self._created = int(time.time())
        self._service: Service | None = None
        self._loaded_names: tuple[str, ...] = ()
        # Random once and counted from there: asking the kernel for each was a tenth of a small request.
        self._ids, self._numbers = uuid4().hex[:16], itertools.count(1)

    def attach(self, service: Service) -> None:
        """Learn the service whose readiness is asked and whose telemetry counts; before the first request."""
        self._service = service

    def name_model(self, name: str) -> None:
        """Learn what the loaded model calls itself: `model: path/to/own` is called `own`."""
        self._loaded_names = (name,)

    def routes(self) -> tuple[BaseRoute, ...]:
        """Return the routes; a model's id may hold slashes."""
        return (
            Route("/v1/embeddings", self._endpoint("v1/embeddings", self._embeddings), methods=["POST"]),
            Route("/v1/models", self._endpoint("v1/models", self._models), methods=["GET"]),
            Route("/v1/models/{id:path}", self._endpoint("v1/models", self._model), methods=["GET"]),
        )

    def model_names(self) -> tuple[str, ...]:
        """Return every name the model answers to, its usual one first: what `stats` and replies show."""
        known = (*self._loaded_names, *self._settings.model_names(), *self._settings.alias_names())
        return tuple(dict.fromkeys(known))

    def _endpoint(
        self, name: str, answer: Callable[[Request], Awaitable[Answer]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def respond(request: Request) -> Response:
            began = time.perf_counter()
            request_id = self._next_id()
            code = "ok"
            timing: Timing | None = None
            try:
                body, timing = await answer(request)
                response = _json(200, body)
            except (ApiError, RequestError) as error:
                reply = error_reply(error)
                code = reply.code
                response = _json(reply.status, reply.body, reply.headers)
            except asyncio.CancelledError:
                # The doors cancel whatever is computed for a client that has gone.
                self._ready_service().telemetry.record(name, Cancelled.code, time.perf_counter() - began)
                raise
            except Exception:
                # A bug of ours: the client learns an incident id, the log the rest.
                logger.exception("%s failed (incident %s)", name, request_id)
                reply = error_reply(InternalError(request_id))
                code = reply.code
                response = _json(reply.status, reply.body)
            seconds = time.perf_counter() - began
            self._ready_service().telemetry.record(name, code, seconds)
            response.headers.update(_headers(request_id, seconds, timing))
            return response

        return respond

    def _next_id(self) -> str:
        return f"{self._ids}{next(self._numbers):016x}"

    def _ready_service(self) -> Service:
        assert self._service is not None, "attach is called when the service is assembled"
        return self._service

    async def _embeddings(self, request: Request) -> Answer:
        call = read_call(await request.body(), self.model_names())
        self._require_ready()
        info = self._worker.info
        dimensions = choose_dimensions(info, call.dimensions, field_name="dimensions")
        check_texts(call.texts, self._settings, field_name="input")
        embedded = await self._worker.embed(call.texts, client=request.client)
        return await _embeddings_body(embedded, call, dimensions, info.name), embedded.timing

    def _require_ready(self) -> None:
        service = self._ready_service()
        if not service.check_alive():
            raise service.readiness.loading_error()

    async def _models(self, request: Request) -> Answer:
        return {"object": "list", "data": [self._described(name) for name in self.model_names()]}, None

    async def _model(self, request: Request) -> Answer:
        name = request.path_params["id"]
        check_model(name, self.model_names())
        return self._described(name), None

    def _described(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._created, "owned_by": "lucid-launch"}


async def _embeddings_body(
    embedded: Embedded, call: EmbeddingsCall, dimensions: int, model: str
) -> Mapping[str, Any]:
    vectors = shorten(embedded.vectors, dimensions, renormalise=True)
    places = itertools.count()

    def write(rows: Vectors) -> list[dict[str, Any]]:
        return [
            {
                "object": "embedding",
                "index": next(places),
                "embedding": to_base64(row, "float32") if call.encoding == "base64" else row,
            }
            for row in rows
        ]

    tokens = sum(embedded.tokens)
    return {
        "object": "list",
        "data": await written_rows(vectors, write),
        "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _json(status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    return Response(encode(body), status, headers, media_type="application/json")


def _headers(request_id: str, seconds: float, timing: Timing | None) -> dict[str, str]:
    headers = {"x-request-id": request_id, "x-total-time": _milliseconds(seconds)}
    if timing is not None:
        headers |= {
            "x-queue-time": _milliseconds(timing.queue_s),
            "x-tokenization-time": _milliseconds(timing.tokenize_s),
            "x-inference-time": _milliseconds(timing.infer_s),
        }
    return headers


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.3f}"
