"""Texts in, vectors out: the event loop's side of the embedding engine, used by both servers in-process.

It decides the order of a request's stages: admission, tokenising off the loop, queueing, waiting until its
vectors, its deadline or its caller's departure. Batches and the model itself belong to the model thread.
"""

import asyncio
import logging
from collections.abc import Callable, Hashable, Sequence
from typing import Any, ClassVar, Final
from uuid import uuid4

from prometheus_client import CollectorRegistry

from servers.embedding.desk import Desk
from servers.embedding.embedded import Embedded, Priority, Timing
from servers.embedding.engine import Engine, EngineBroken, ModelInfo, OnPhase
from servers.embedding.intake import Intake
from servers.embedding.loading import load_engine
from servers.embedding.meter import Meter
from servers.embedding.model_thread import FinishedBatch, LoadAbandoned, ModelThread
from servers.embedding.pending import PendingRequest
from servers.embedding.stats import worker_stats
from servers.embedding.tokenizing import TokenizingStage
from servers.errors import (
    DeadlineExceeded,
    InternalError,
    ModelLoading,
    Overloaded,
    RequestError,
    ShuttingDown,
    StartupError,
)
from servers.settings import EmbeddingSettings

__all__ = ["DeviceFailed", "Embedded", "EmbeddingWorker", "Priority", "Timing"]

logger = logging.getLogger(__name__)

STALL_S: Final = 120.0
"""A batch that takes longer than this means a hung device: the worker counts as dead."""

INTERACTIVE_TEXTS: Final = 64
"""A request of more texts waits in the bulk lane whatever its priority: it takes long in any case."""

_SHUT_DOWN: Final = "The server shut down before this was computed."


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
        stall_s: float = STALL_S,
    ) -> None:
        """Prepare; `load` builds the engine on the model thread, and is replaced in tests as is `stall_s`."""
        self._settings = settings
        self._load = load
        self._meter = Meter(registry)
        self._desk = Desk(settings.queue_items, settings.queue_tokens)
        self._stall_s = stall_s
        self._thread: ModelThread | None = None
        self._stage: TokenizingStage | None = None
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
        self._loop = asyncio.get_running_loop()
        self._loaded: asyncio.Future[None] = self._loop.create_future()
        self._stopped: asyncio.Future[None] = self._loop.create_future()
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

    def require_room(self, texts: Sequence[str], *, priority: Priority = "interactive") -> None:
        """Raise `Overloaded` if `embed` would at this moment, at next to no cost."""
        if self._engine is None:
            return
        try:
            self._desk.require_room(
                texts,
                self._engine.info.max_input_tokens,
                self._tokens_per_s,
                bulk=_is_bulk(texts, priority),
            )
        except Overloaded as error:
            self._meter.count_dropped(error.code)
            raise

    async def embed(
        self,
        texts: Sequence[str],
        *,
        truncate: bool = True,
        normalize: bool = True,
        priority: Priority = "interactive",
        deadline: float | None = None,
        client: Hashable = None,
    ) -> Embedded:
        """Return the vectors of `texts` (at least one), in order.

        `deadline` is an instant of `loop.time()`; cancelling the awaiting task drops what is still queued.
        Clients, told apart by `client`, take turns. Raises `Overloaded` (at once, nothing queued),
        `DeadlineExceeded`, `TooLarge` (with `truncate=False`, a text longer than the model takes),
        `ModelLoading`, `ShuttingDown`, and `InternalError` when the model cannot embed one of the texts
        (`details.text` says which) or has died.
        """
        info = self._ready_engine().info
        request = PendingRequest(
            texts,
            info.dimensions,
            normalize=normalize,
            truncate=truncate,
            bulk=_is_bulk(texts, priority),
            client=client,
            deadline=deadline,
        )
        await self._answered(request, info.max_input_tokens)
        return self._embedded(request)

    async def _answered(self, request: PendingRequest, max_tokens: int) -> None:
        """Return when every vector of `request` is there; whatever happens, nothing of it is left behind."""
        try:
            self._desk.enter(request, max_tokens, self._tokens_per_s)
            await self._computed(request)
        except RequestError as error:
            self._meter.count_dropped(error.code)
            raise
        except asyncio.CancelledError:
            has_expired = request.is_expired(asyncio.get_running_loop().time())
            self._meter.count_dropped(DeadlineExceeded.code if has_expired else "cancelled")
            raise
        finally:
            self._desk.leave(request)

    def _ready_engine(self) -> Engine:
        if self._failure is not None:
            raise self._failure
        if self._is_closing:
            raise ShuttingDown("The server is shutting down and takes no new texts.")
        if self._engine is None:
            raise ModelLoading("The model is still loading.", retry_after=1.0)
        return self._engine

    async def _computed(self, request: PendingRequest) -> None:
        assert self._stage is not None, "an engine exists, so its threads do"
        self._stage.put(request)
        if request.deadline is None:
            await request.done
            return
        late = DeadlineExceeded("The deadline passed before the vectors were ready.")
        timer = asyncio.get_running_loop().call_at(request.deadline, request.fail, late)
        try:
            await request.done
        finally:
            timer.cancel()

    def _embedded(self, request: PendingRequest) -> Embedded:
        started_at = request.started_at or request.queued_at
        timing = Timing(
            queue_s=max(0.0, started_at - request.queued_at),
            tokenize_s=request.queued_at - request.began_at,
            infer_s=request.finished_at - started_at,
        )
        self._meter.count_request(timing, request.finished_at - request.began_at)
        tokens = [each for each in request.read if each is not None]
        return Embedded(
            request.vectors,
            tuple(len(each) for each in tokens),
            tuple(each.truncated for each in tokens),
            timing,
        )

    def on_loaded(self, engine: Engine, tokens_per_s: float | None) -> None:
        """Take the loaded engine over; called by the model thread through the loop."""
        assert self._thread is not None, "it is the caller"
        self._stage = TokenizingStage(engine, Intake(self._desk, self._thread, self._loop))
        self._engine = engine
        self._tokens_per_s = tokens_per_s
        if not self._loaded.done():
            self._loaded.set_result(None)

    def on_batch(self, batch: FinishedBatch) -> None:
        """Hand vectors to whoever waits for them; called by the model thread through the loop."""
        self._tokens_per_s = batch.tokens_per_s
        self._meter.count_batch(batch)
        self._desk.deliver(batch)

    def on_stopped(self, error: BaseException | None) -> None:
        """Fail everybody who waits; called by the model thread through the loop when it ends."""
        if self._engine is None:
            if not self._loaded.done():
                self._loaded.set_exception(_reason_of_no_start(error))
        elif error is not None:
            self._die("the model thread has died", error)
        self._has_stopped = True
        self._desk.fail_all(self._failure or ShuttingDown(_SHUT_DOWN))
        if not self._stopped.done():
            self._stopped.set_result(None)

    def _die(self, what: str, error: BaseException | None = None) -> None:
        incident = uuid4().hex[:12]
        logger.critical("%s (incident %s)", what, incident, exc_info=error)
        self._failure = InternalError(incident, "The embedding engine has died")
        self._desk.fail_all(self._failure)

    def is_alive(self) -> bool:
        """Tell whether texts can be embedded: the threads run and no batch has hung.

        Once they do not, everybody who waits is told so.
        """
        if self._thread is None or self._stage is None or self._has_stopped or self._failure is not None:
            return False
        if self._thread.is_alive(self._stall_s) and (self._is_closing or self._stage.is_alive()):
            return True
        if not self._is_closing:
            self._die(f"a thread has died, or a batch has not ended within {self._stall_s:g} s")
        return False

    def stats(self) -> dict[str, Any]:
        """Return the worker's part of the `stats` payload (protocol.md section 5)."""
        waiting = self._thread.waiting if self._thread else 0
        return worker_stats(self._settings, self._engine, self._meter, self._desk.admission, waiting)

    async def close(self) -> None:
        """End the threads after their current work; what is queued is answered with `ShuttingDown`.

        A thread that still loads, or whose batch has hung, is left behind: it ends with the process.
        """
        self._is_closing = True
        if self._stage is not None:
            self._stage.close()
        self._desk.fail_queued(ShuttingDown(_SHUT_DOWN))
        if self._thread is not None:
            self._thread.close()
            if self._engine is not None and self._thread.is_alive(self._stall_s):
                await asyncio.shield(self._stopped)


def _is_bulk(texts: Sequence[str], priority: Priority) -> bool:
    return priority == "bulk" or len(texts) > INTERACTIVE_TEXTS


def _reason_of_no_start(error: BaseException | None) -> BaseException:
    if error is None or isinstance(error, LoadAbandoned):
        return ShuttingDown("The server was stopped while loading.")
    return error
