"""Texts in, vectors out: the event loop's side of the embedding engine, used by both servers in-process.

It decides the order of a request's stages: admission, tokenising off the loop, queueing, waiting until its
vectors, its deadline or its caller's departure. Batches and the model itself belong to the model thread.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Final
from uuid import uuid4

from prometheus_client import CollectorRegistry

from servers.embedding.admission import Admission, Permit
from servers.embedding.embedded import Embedded, Priority, Timing, refuse_cut_texts
from servers.embedding.engine import Engine, EngineBroken, ModelInfo, OnPhase, Tokens
from servers.embedding.loading import load_engine
from servers.embedding.meter import Meter
from servers.embedding.model_thread import FinishedBatch, LoadAbandoned, ModelThread
from servers.embedding.pending import PendingRequest, TextFailed, texts_of
from servers.errors import (
    DeadlineExceeded,
    InternalError,
    ModelLoading,
    Overloaded,
    ShuttingDown,
    StartupError,
)
from servers.settings import EmbeddingSettings

__all__ = ["DeviceFailed", "Embedded", "EmbeddingWorker", "Priority", "Timing"]

logger = logging.getLogger(__name__)

TOKENIZER_THREADS: Final = 2
STALL_S: Final = 120.0
"""A batch that takes longer than this means a hung device: the worker counts as dead."""


class DeviceFailed(StartupError):
    """The device cannot hold or run the model now; unlike other failed starts, trying again may help."""

    code: ClassVar[str] = "E_DEVICE_FAILED"
    exit_code: ClassVar[int] = 1


class EmbeddingWorker:
    """One model, one thread, one bounded queue. All methods are for one event loop."""

    def __init__(
        self,
        settings: EmbeddingSettings,
        registry: CollectorRegistry,
        *,
        load: Callable[[EmbeddingSettings, OnPhase], Engine] = load_engine,
    ) -> None:
        """Prepare; `load` builds the engine on the model thread and is only replaced in tests."""
        self._settings = settings
        self._load = load
        self._meter = Meter(registry)
        self._admission = Admission(settings.queue_items, settings.queue_tokens)
        self._tokenizers = ThreadPoolExecutor(TOKENIZER_THREADS, thread_name_prefix="tokenize")
        self._requests: set[PendingRequest] = set()
        self._thread: ModelThread | None = None
        self._engine: Engine | None = None
        self._tokens_per_s: float | None = None
        self._failure: InternalError | None = None
        self._is_closing = False
        self._has_stopped = False

    async def start(self, on_phase: Callable[[str, float | None], None]) -> None:
        """Load the model; returns when it has computed once.

        `on_phase` is called on the loop with import, load-model, warmup (and download) and a share of 0…1.
        Raises `StartupError`: `ModelMissing`, `BadSettings`, or `DeviceFailed`, which may pass by itself.
        """
        loop = asyncio.get_running_loop()
        self._loaded: asyncio.Future[None] = loop.create_future()
        self._stopped: asyncio.Future[None] = loop.create_future()
        self._thread = ModelThread(
            lambda report: self._load(self._settings, report),
            on_phase,
            self,
            max_batch_tokens=self._settings.max_batch_tokens,
        )
        self._thread.start()
        try:
            await self._loaded
        except EngineBroken as error:
            raise DeviceFailed(
                f"The model cannot be used: {error}: {error.__cause__}",
                where=f"model {self._settings.model}, device {self._settings.device}",
                mend="Try `device: cpu`; `lucid-launch doctor` checks the device and the driver.",
            ) from error

    @property
    def info(self) -> ModelInfo:
        """What is loaded. Raises `ModelLoading` before `start` has returned."""
        return self._ready_engine().info

    async def embed(
        self,
        texts: Sequence[str],
        *,
        truncate: bool = True,
        normalize: bool = True,
        priority: Priority = "interactive",
        deadline: float | None = None,
    ) -> Embedded:
        """Return the vectors of `texts` (at least one), in order.

        `deadline` is an instant of `loop.time()`; cancelling the awaiting task drops what is still queued.
        Raises `Overloaded` (at once, nothing queued), `DeadlineExceeded`, `TooLarge` (with
        `truncate=False`, a text longer than the model takes), `ModelLoading`, `ShuttingDown`, and
        `InternalError` when the model cannot embed one of the texts (`details.text` says which) or has
        died.
        """
        engine = self._ready_engine()
        permit = self._admit(texts, engine.info.max_input_tokens)
        try:
            async with asyncio.timeout_at(deadline):
                return await self._embed(engine, texts, permit, truncate, normalize, priority)
        except TimeoutError:
            self._meter.count_dropped("deadline")
            raise DeadlineExceeded("The deadline passed before the vectors were ready.") from None
        except asyncio.CancelledError:
            self._meter.count_dropped("cancelled")
            raise
        finally:
            self._admission.release(permit)

    def _ready_engine(self) -> Engine:
        if self._failure is not None:
            raise self._failure
        if self._is_closing:
            raise ShuttingDown("The server is shutting down and takes no new texts.")
        if self._engine is None:
            raise ModelLoading("The model is still loading.", retry_after=1.0)
        return self._engine

    def _admit(self, texts: Sequence[str], max_tokens: int) -> Permit:
        # A token has at least one character, so this is never too little; tokenising corrects it.
        most = sum(min(max_tokens, len(text) + 2) for text in texts)
        try:
            return self._admission.admit(len(texts), most, self._tokens_per_s)
        except Overloaded:
            self._meter.count_dropped("overloaded")
            raise

    async def _embed(
        self,
        engine: Engine,
        texts: Sequence[str],
        permit: Permit,
        truncate: bool,
        normalize: bool,
        priority: Priority,
    ) -> Embedded:
        loop = asyncio.get_running_loop()
        began = loop.time()
        tokens = await loop.run_in_executor(self._tokenizers, engine.tokenize, texts)
        if not truncate:
            refuse_cut_texts(tokens, engine.info.max_input_tokens)
        self._admission.correct(permit, sum(len(each) for each in tokens))
        queued_at = loop.time()
        request = PendingRequest(
            len(texts),
            engine.info.dimensions,
            normalize=normalize,
            bulk=priority == "bulk",
            queued_at=queued_at,
        )
        await self._compute(request, tokens)
        timing = Timing(
            queue_s=(request.started_at or queued_at) - queued_at,
            tokenize_s=queued_at - began,
            infer_s=request.finished_at - (request.started_at or queued_at),
        )
        self._meter.count_request(timing.queue_s, timing.tokenize_s, timing.infer_s)
        return Embedded(
            request.vectors,
            tuple(len(each) for each in tokens),
            tuple(each.truncated for each in tokens),
            timing,
        )

    async def _compute(self, request: PendingRequest, tokens: list[Tokens]) -> None:
        self._ready_engine()  # it may have died, or begun to close, while the texts were tokenised
        assert self._thread is not None, "an engine exists, so its thread does"
        self._requests.add(request)
        self._thread.put(texts_of(request, tokens))
        try:
            await request.done
        except TextFailed as error:
            self._meter.count_dropped("failed")
            raise _text_failed(error) from error
        finally:
            request.depart()
            self._requests.discard(request)

    def on_loaded(self, engine: Engine, tokens_per_s: float | None) -> None:
        """Take the loaded engine over; called by the model thread through the loop."""
        self._engine = engine
        self._tokens_per_s = tokens_per_s
        if not self._loaded.done():
            self._loaded.set_result(None)

    def on_batch(self, batch: FinishedBatch) -> None:
        """Answer the requests that a batch completes; called by the model thread through the loop."""
        self._tokens_per_s = batch.tokens_per_s
        self._meter.count_batch(batch)
        done: dict[PendingRequest, int] = {}
        for row, text in enumerate(batch.texts):
            if row in batch.failures:
                failure = TextFailed(text.place)
                failure.__cause__ = batch.failures[row]
                text.request.fail(failure)
            else:
                done[text.request] = done.get(text.request, 0) + 1
        for request, texts in done.items():
            request.report(texts, batch.started_at, batch.finished_at)

    def on_stopped(self, error: BaseException | None) -> None:
        """Fail everybody who waits; called by the model thread through the loop when it ends."""
        if self._engine is None:
            self._fail_start(error or LoadAbandoned())
        elif error is not None:
            incident = uuid4().hex[:12]
            logger.critical("the model thread has died (incident %s)", incident, exc_info=error)
            self._failure = InternalError(incident, "The embedding engine has died")
        self._has_stopped = True
        reason = self._failure or ShuttingDown("The server shut down before this was computed.")
        for request in tuple(self._requests):
            request.fail(reason)
        if not self._stopped.done():
            self._stopped.set_result(None)

    def _fail_start(self, error: BaseException) -> None:
        if not self._loaded.done():
            abandoned = ShuttingDown("The server was stopped while loading.")
            self._loaded.set_exception(abandoned if isinstance(error, LoadAbandoned) else error)

    def is_alive(self) -> bool:
        """Tell whether texts can be embedded: the thread runs and its batch has not hung."""
        if self._engine is None or self._thread is None or self._has_stopped:
            return False
        return self._thread.is_alive(STALL_S)

    def stats(self) -> dict[str, Any]:
        """Return the worker's part of the `stats` payload (protocol.md section 5)."""
        info = self._engine.info if self._engine else None
        memory = self._engine.memory() if self._engine else None
        payload: dict[str, Any] = {
            "model": info.name if info else self._settings.model,
            "device": info.device if info else None,
            "dimensions": info.dimensions if info else None,
            "max_input_tokens": info.max_input_tokens if info else None,
            "backend": self._settings.backend,
            "dtype": info.dtype if info else None,
            "texts": self._meter.texts,
            "tokens": self._meter.tokens,
            "queue": {
                "depth": self._admission.texts,
                "limit": self._admission.max_texts,
                "waiting": self._thread.waiting if self._thread else 0,
            },
            "latency_ms": self._meter.latency_ms(),
            "batch": self._meter.batch(),
        }
        return payload | ({"gpu": memory.as_stats()} if memory else {})

    async def close(self) -> None:
        """End the thread after its current batch; what is queued is answered with `ShuttingDown`.

        A thread that still loads is left behind: it ends at its next phase, or with the process.
        """
        self._is_closing = True
        if self._thread is not None:
            for text in self._thread.close():
                text.request.fail(ShuttingDown("The server shut down before this was computed."))
            if self._engine is not None:
                await asyncio.shield(self._stopped)
        self._tokenizers.shutdown(wait=False, cancel_futures=True)


def _text_failed(error: TextFailed) -> InternalError:
    incident = uuid4().hex[:12]
    logger.error("%s (incident %s)", error, incident, exc_info=error.__cause__)
    failure = InternalError(incident, f"The model could not embed text {error.place}")
    failure.details = {**(failure.details or {}), "text": error.place}
    return failure
