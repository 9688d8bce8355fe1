"""Fixtures of the embedding tests: a worker around an engine under the test's control."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry

from servers.embedding.engine import OnPhase
from servers.embedding.machine import cpu_threads
from servers.embedding.models import find_model
from servers.embedding.selection import Wanted
from servers.embedding.surroundings import LIBRARY_ENVIRONMENT
from servers.embedding.variants import CPU_VARIANTS
from servers.embedding.worker import EmbeddingWorker
from servers.settings import EmbeddingSettings
from tests.servers.embedding.doubles import ScriptedEngine

# Before any test imports torch, since OpenMP reads it once; as the servers themselves do.
for name, value in LIBRARY_ENVIRONMENT.items():
    os.environ.setdefault(name, value)

OpenWorker = Callable[..., AbstractAsyncContextManager[EmbeddingWorker]]


@pytest.fixture
def engine() -> ScriptedEngine:
    """An engine under the test's control."""
    return ScriptedEngine()


@pytest.fixture
def open_worker(engine: ScriptedEngine) -> OpenWorker:
    """A started worker around `engine`, closed afterwards; keywords are settings."""

    @asynccontextmanager
    async def opened(**settings: object) -> AsyncIterator[EmbeddingWorker]:
        worker = EmbeddingWorker(
            EmbeddingSettings.model_validate({"backend": "debug", **settings}),
            CollectorRegistry(),
            load=lambda _settings, _on_phase: engine,
        )
        await worker.start(_ignore_phase)
        engine.forget()
        try:
            yield worker
        finally:
            engine.gate.set()
            await worker.close()

    return opened


def _ignore_phase(phase: str, progress: float | None) -> None:
    """Take no interest in phases."""


@pytest.fixture
def on_phase() -> OnPhase:
    """A listener that takes no interest in phases."""
    return _ignore_phase


@pytest.fixture
def settled() -> Callable[[], Awaitable[None]]:
    """Let everything that is ready on the loop run, a few rounds deep."""

    async def settle() -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    return settle


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Wanted:
    """A cache that holds the default model's graph for every variant, exported once for all tests."""
    from servers.embedding.exporting import export_variants
    from servers.embedding.torch_engine import load_model, resolve_device

    files = find_model("all-MiniLM-L6-v2")
    wanted = Wanted(
        model=files.path,
        name=files.name,
        backend="auto",
        accuracy="fast",
        device="cpu",
        threads=cpu_threads(None, os.environ),
        cache=tmp_path_factory.mktemp("engines"),
    )
    assert export_variants(load_model(files, resolve_device("cpu")), wanted, CPU_VARIANTS) == {}
    return wanted
