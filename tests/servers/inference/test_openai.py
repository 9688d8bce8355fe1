"""The OpenAI-compatible door, asked by the real SDK and by plain HTTP."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from websockets.asyncio.client import connect

from servers.embedding import loading
from servers.embedding.debug_engine import DebugEngine
from servers.inference.assembly import build_service
from servers.inference.settings import InferenceSettings
from tests.servers.inference.clients import Client

MODEL = "all-MiniLM-L6-v2"


@pytest.fixture
async def sdk(running: Any) -> AsyncIterator[openai.AsyncOpenAI]:
    """The SDK as a user sets it up."""
    async with openai.AsyncOpenAI(base_url=f"{running.http}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
async def http(running: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A plain HTTP client."""
    async with httpx.AsyncClient(base_url=running.http) as client:
        yield client


async def test_the_sdk_s_default_base64_and_floats_give_the_same_vectors(sdk: openai.AsyncOpenAI) -> None:
    """Whatever encoding the SDK asks for, vectors, order and usage are right."""
    texts = ["a quiet harbour", "a storm"]
    default = await sdk.embeddings.create(model=MODEL, input=texts)
    floats = await sdk.embeddings.create(model=MODEL, input=texts, encoding_format="float")
    assert [each.index for each in default.data] == [0, 1]
    for first, second in zip(default.data, floats.data, strict=True):
        assert len(first.embedding) == 384
        np.testing.assert_allclose(first.embedding, second.embedding, atol=1e-7)
    assert default.usage.prompt_tokens == default.usage.total_tokens == 9
    assert default.model == MODEL


async def test_base64_holds_little_endian_float32(http: httpx.AsyncClient) -> None:
    """The bytes are what every SDK decodes: four per number, lowest first."""
    body = {"model": MODEL, "input": "x", "encoding_format": "base64"}
    encoded = (await http.post("/v1/embeddings", json=body)).json()["data"][0]["embedding"]
    vector = np.frombuffer(base64.b64decode(encoded), "<f4")
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)


async def test_models_are_listed_and_found_under_every_name(sdk: openai.AsyncOpenAI) -> None:
    """Short name, full name with its slash, and aliases all mean the one model."""
    names = [model.id async for model in sdk.models.list()]
    assert names == [MODEL, f"sentence-transformers/{MODEL}", "text-embedding-3-small"]
    for name in names:
        assert (await sdk.models.retrieve(name)).id == name
        assert len((await sdk.embeddings.create(model=name, input="x")).data) == 1


async def test_a_model_from_a_folder_answers_to_the_name_that_is_shown(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`stats` and replies say `own`; requests may say that or what config.yaml says."""
    monkeypatch.setattr(loading, "DebugEngine", lambda _: DebugEngine("own"))
    running = await serve(build_service(InferenceSettings(backend="debug", model="models/own")))
    async with connect(running.ws) as socket:
        client = Client(socket)
        while (stats := (await client.ask("stats"))["stats"])["phase"] != "ready":
            pass
    assert stats["model"] == "own"
    async with httpx.AsyncClient(base_url=running.http) as http:
        listed = (await http.get("/v1/models")).json()["data"]
        assert [model["id"] for model in listed] == ["own", "models/own"]
        for name in ("own", "models/own"):
            assert (await http.get(f"/v1/models/{name}")).status_code == 200
            reply = await http.post("/v1/embeddings", json={"model": name, "input": "x"})
            assert reply.json()["model"] == "own"


async def test_an_unknown_model_is_not_found(sdk: openai.AsyncOpenAI) -> None:
    """The SDK raises its NotFoundError, whose message lists the models."""
    with pytest.raises(openai.NotFoundError, match=MODEL) as refused:
        await sdk.embeddings.create(model="gpt-nope", input="x")
    assert refused.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        await sdk.models.retrieve("gpt-nope")


async def test_token_ids_are_refused_with_the_cure(sdk: openai.AsyncOpenAI) -> None:
    """What LangChain sends by default fails loudly instead of giving wrong vectors."""
    with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False"):
        await sdk.embeddings.create(model=MODEL, input=[[1, 2, 3]])


async def test_only_the_native_width_is_accepted(sdk: openai.AsyncOpenAI) -> None:
    """384 is fine; another width is refused with the field's own name."""
    answer = await sdk.embeddings.create(model=MODEL, input="x", dimensions=384)
    assert len(answer.data[0].embedding) == 384
    with pytest.raises(openai.BadRequestError) as refused:
        await sdk.embeddings.create(model=MODEL, input="x", dimensions=100)
    assert refused.value.param == "dimensions"


@pytest.mark.parametrize(
    ("texts", "status"), [("", 400), ([], 400), (["x"] * 2049, 400), ("x" * 1_000_001, 413)]
)
async def test_bad_inputs_have_the_right_status(http: httpx.AsyncClient, texts: Any, status: int) -> None:
    """Empty, too many and too long inputs are told apart, with the param named."""
    answer = await http.post("/v1/embeddings", json={"model": MODEL, "input": texts})
    assert answer.status_code == status
    assert answer.json()["error"]["param"] == "input"


async def test_every_answer_has_an_id_and_its_time(http: httpx.AsyncClient) -> None:
    """Successes carry all the times in milliseconds, failures the id and the total."""
    good = await http.post("/v1/embeddings", json={"input": "x"})
    assert good.status_code == 200
    for header in ("x-total-time", "x-queue-time", "x-tokenization-time", "x-inference-time"):
        assert float(good.headers[header]) >= 0
    bad = await http.post("/v1/embeddings", content=b"{")
    assert float(bad.headers["x-total-time"]) >= 0
    assert len({good.headers["x-request-id"], bad.headers["x-request-id"]}) == 2


async def test_requests_are_counted(http: httpx.AsyncClient, running: Any) -> None:
    """The HTTP door is part of the same figures as the WebSocket."""
    before = running.service.telemetry.total
    await http.post("/v1/embeddings", json={"input": "x"})
    await http.post("/v1/embeddings", json={"input": ""})
    assert running.service.telemetry.total == before + 2
    assert 'op="v1/embeddings"' in (await http.get("/metrics")).text


async def test_a_full_queue_is_429_with_retry_after(running: Any, http: httpx.AsyncClient) -> None:
    """When the worker refuses, the SDK's back-off is told how long."""
    from servers.errors import Overloaded

    def overloaded() -> bool:
        raise Overloaded("The queue is full.", retry_after=2.5)

    running.service.check_alive = overloaded
    answer = await http.post("/v1/embeddings", json={"input": "x"})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")
    assert answer.json()["error"]["type"] == "rate_limit_error"


async def test_while_loading_the_answer_is_503_with_retry_after(serve: Any) -> None:
    """Before the model is ready, clients are told to come back; the models can already be listed."""
    service = build_service(InferenceSettings(backend="debug"))
    service.start = asyncio.Event().wait  # type: ignore[assignment]  # a load that never ends
    started = await serve(service)
    async with httpx.AsyncClient(base_url=started.http) as client:
        answer = await client.post("/v1/embeddings", json={"input": "x"})
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error"]["code"] == "model_loading"
        assert (await client.get("/v1/models")).status_code == 200
