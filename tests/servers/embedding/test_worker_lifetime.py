"""A worker's life: loading, failing to load, being stopped while it loads, closing."""

import asyncio
import threading

import pytest
from prometheus_client import CollectorRegistry

from servers.embedding.engine import Engine, EngineBroken, OnPhase
from servers.embedding.worker import DeviceFailed, EmbeddingWorker
from servers.errors import BadSettings, ModelLoading, ShuttingDown
from servers.settings import EmbeddingSettings
from tests.servers.embedding.doubles import PATIENCE_S, ScriptedEngine, always_failing

DEBUG = EmbeddingSettings(backend="debug")


async def test_before_the_start_requests_are_told_that_the_model_loads(on_phase: OnPhase) -> None:
    """A request that comes too early is told so, and the worker is not alive yet."""
    worker = EmbeddingWorker(DEBUG, CollectorRegistry())
    assert not worker.is_alive()
    assert worker.stats()["device"] is None
    with pytest.raises(ModelLoading):
        await worker.embed(["early"])
    await worker.start(on_phase)
    assert worker.is_alive()
    await worker.close()
    assert not worker.is_alive()


async def test_a_failed_load_is_raised_by_start(on_phase: OnPhase) -> None:
    """Whatever stops the engine from loading reaches the caller as it is; closing afterwards is fine."""

    def load(settings: EmbeddingSettings, report: OnPhase) -> Engine:
        raise BadSettings("no such device")

    worker = EmbeddingWorker(DEBUG, CollectorRegistry(), load=load)
    with pytest.raises(BadSettings, match="no such device"):
        await worker.start(on_phase)
    await worker.close()


async def test_a_model_that_cannot_compute_is_found_before_anybody_asks(on_phase: OnPhase) -> None:
    """The warm-up fails the start, with an exit code that allows another try."""
    engine = ScriptedEngine()

    def load(settings: EmbeddingSettings, report: OnPhase) -> Engine:
        engine.forward = always_failing  # type: ignore[method-assign]  # the broken device of this test
        return engine

    worker = EmbeddingWorker(DEBUG, CollectorRegistry(), load=load)
    with pytest.raises(DeviceFailed) as failed:
        await worker.start(on_phase)
    assert failed.value.exit_code == 1
    assert isinstance(failed.value.__cause__, EngineBroken)
    await worker.close()


async def test_closing_does_not_wait_for_a_load_that_goes_on(on_phase: OnPhase) -> None:
    """A stop during a long import returns at once; the load is given up at its next phase."""
    loading, go_on, given_up = asyncio.Event(), threading.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def load(settings: EmbeddingSettings, report: OnPhase) -> Engine:
        loop.call_soon_threadsafe(loading.set)
        assert go_on.wait(PATIENCE_S)
        try:
            report("load-model", 0.6)
        finally:
            given_up.set()
        pytest.fail("the load went on after the worker was closed")

    worker = EmbeddingWorker(DEBUG, CollectorRegistry(), load=load)
    starting = asyncio.create_task(worker.start(on_phase))
    await loading.wait()
    await worker.close()
    go_on.set()
    with pytest.raises(ShuttingDown):
        await starting
    assert given_up.is_set()
