"""A busy server over its real doors: departures free room, refusals come at once, a hang shows."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from servers.embedding.debug_engine import DebugEngine
from servers.embedding.engine import Tokens, Vectors
from servers.inference.assembly import build_service
from servers.inference.settings import InferenceSettings
from tests.servers.inference.clients import Client

PATIENCE_S = 20.0


class Gate:
    """Holds every forward on the model thread from `shut` to `open`, and remembers how many texts began."""

    def __init__(self) -> None:
        self._open, self._entered = threading.Event(), threading.Semaphore(0)
        self._open.set()
        self.texts = 0

    def shut(self) -> None:
        """Hold the next forward."""
        self.texts = 0
        while self._entered.acquire(blocking=False):
            pass
        self._open.clear()

    def open(self) -> None:
        """Let everything pass."""
        self._open.set()

    def pass_through(self, texts: int) -> None:
        """Wait here, on the model thread."""
        self.texts += texts
        self._entered.release()
        assert self._open.wait(PATIENCE_S), "the test never opened the gate"

    async def entered(self) -> None:
        """Return once a forward is being held."""
        assert await asyncio.to_thread(self._entered.acquire, timeout=PATIENCE_S)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """A gate in front of the debug engine."""
    gate, forward = Gate(), DebugEngine.forward

    def held(self: DebugEngine, batch: Sequence[Tokens]) -> Vectors:
        gate.pass_through(len(batch))
        return forward(self, batch)

    monkeypatch.setattr(DebugEngine, "forward", held)
    return gate


@pytest.fixture
async def busy(serve: Callable[..., Awaitable[Any]], gate: Gate) -> AsyncIterator[Any]:
    """A server whose model is computing a text for as long as the gate is shut, with room for 3 more."""
    started = await serve(build_service(InferenceSettings(backend="debug", queue_items=4)))
    async with connect(started.ws) as socket:
        client = Client(socket)
        while (await client.ask("stats"))["stats"]["phase"] != "ready":
            pass
        gate.shut()
        await socket.send(json.dumps({"type": "embeddings", "data": {"text": "held"}}))
        await gate.entered()
        yield started
        gate.open()
        assert json.loads(await socket.recv())["type"] == "embeddings"


async def depth(running: Any, wanted: int) -> None:
    """Return once that many texts are admitted and unanswered."""
    async with connect(running.ws) as socket:
        client = Client(socket)
        while (await client.ask("stats"))["stats"]["queue"]["depth"] != wanted:
            pass


def request(text: object, **fields: Any) -> str:
    """An `embeddings` request."""
    return json.dumps({"type": "embeddings", "data": {"text": text, **fields.pop("data", {})}, **fields})


async def test_a_closed_socket_frees_its_room_and_is_not_computed(busy: Any, gate: Gate) -> None:
    """What a client asked for before it hung up is dropped from the queue."""
    async with connect(busy.ws) as leaving:
        await leaving.send(request(["a", "b", "c"]))
        await depth(busy, 4)
    await depth(busy, 1)
    gate.open()
    async with connect(busy.ws) as staying:
        assert (await Client(staying).ask("embeddings", {"text": "after"}))["status"] == "success"
    assert gate.texts == 2


async def test_a_client_of_v1_that_hangs_up_frees_its_room_too(busy: Any, gate: Gate) -> None:
    """The same over HTTP, where nobody reads while the answer is computed."""
    async with httpx.AsyncClient(base_url=busy.http) as http:
        asking = asyncio.create_task(http.post("/v1/embeddings", json={"input": ["a", "b"]}))
        await depth(busy, 3)
        asking.cancel()
        await asyncio.wait({asking})
    await depth(busy, 1)
    gate.open()


async def test_cancel_by_id_drops_what_is_queued_and_answers_it(busy: Any, gate: Gate) -> None:
    """Exactly one reply each, in order: the request is cancelled, the cancel has worked."""
    async with connect(busy.ws) as socket:
        await socket.send(request(["a", "b"], id=7))
        await depth(busy, 3)
        await socket.send(json.dumps({"type": "cancel", "id": 7}))
        dropped, done = json.loads(await socket.recv()), json.loads(await socket.recv())
    assert (dropped["code"], dropped["id"]) == ("cancelled", 7)
    assert done["cancelled"] is True
    await depth(busy, 1)
    gate.open()


async def test_both_doors_refuse_at_once_what_does_not_fit(busy: Any) -> None:
    """A full queue is answered in milliseconds on either door, with when to come back, and counted."""
    loop = asyncio.get_running_loop()
    took: list[float] = []
    async with connect(busy.ws) as filling, connect(busy.ws) as socket, httpx.AsyncClient() as http:
        await filling.send(request(["a", "b", "c"]))
        await depth(busy, 4)
        for _ in range(20):
            began = loop.time()
            refused = await Client(socket).ask("embeddings", {"text": "too many"})
            took.append(loop.time() - began)
            assert (refused["code"], refused["retry_after"] > 0) == ("overloaded", True)
        answer = await http.post(f"{busy.http}/v1/embeddings", json={"input": "too many"})
        assert (answer.status_code, int(answer.headers["retry-after"]) >= 1) == (429, True)
        metrics = (await http.get(f"{busy.http}/metrics")).text
    assert min(took) < 0.005
    assert 'lucid_embedding_dropped_total{reason="overloaded"} 21.0' in metrics


async def test_what_expires_while_it_waits_is_never_computed(busy: Any, gate: Gate) -> None:
    """The answer comes at the deadline; the text never reaches the model, and the metrics say so."""
    async with connect(busy.ws) as socket, httpx.AsyncClient() as http:
        refused = await Client(socket).ask("embeddings", {"text": "late", "timeout_ms": 30})
        assert refused["code"] == "deadline_exceeded"
        gate.open()
        assert (await Client(socket).ask("embeddings", {"text": "after"}))["status"] == "success"
        metrics = (await http.get(f"{busy.http}/metrics")).text
    assert gate.texts == 2
    assert 'lucid_embedding_dropped_total{reason="deadline_exceeded"} 1.0' in metrics
    assert "lucid_embedding_expired_computed_texts_total 0.0" in metrics


async def test_a_forward_that_hangs_turns_ready_into_503(
    busy: Any, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readiness is an answer of the model's thread, not an open port; who waited for it is told."""
    worker = busy.service.is_alive.__self__
    async with httpx.AsyncClient(base_url=busy.http) as http, connect(busy.ws) as socket:
        assert (await http.get("/readyz")).status_code == 200
        await socket.send(request("waits for a hung device"))
        await depth(busy, 2)
        monkeypatch.setattr(worker, "_stall_s", 0.0)
        hung = await http.get("/readyz")
        assert (hung.status_code, hung.json()["phase"]) == (503, "failed")
        assert json.loads(await socket.recv())["code"] == "internal"
        assert (await Client(socket).ask("embeddings", {"text": "x"}))["code"] == "internal"
