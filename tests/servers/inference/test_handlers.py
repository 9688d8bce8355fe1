"""The commands over a real WebSocket, with the debug engine behind them."""

import asyncio
import base64
import json
from functools import partial
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError

from servers.embedding import debug_engine
from servers.embedding.engine import ModelInfo
from servers.errors import InvalidRequest
from servers.inference.assembly import build_service
from servers.inference.handlers import choose_dimensions
from servers.inference.settings import InferenceSettings
from tests.servers.inference.clients import Client

FIGURES = """
service version pid port uptime_s phase device connections requests latency_ms
queue peers model dimensions max_input_tokens backend dtype texts tokens batch dropped child
"""


async def test_a_string_gives_a_flat_unit_vector(client: Client) -> None:
    """One text: 384 floats at the top level, with model, usage and the cut flag."""
    reply = await client.ask("embeddings", {"text": "hello world"}, id=7)
    vector = np.array(reply.pop("embeddings"))
    assert vector.shape == (384,)
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)
    assert reply == {
        "status": "success",
        "type": "embeddings",
        "id": 7,
        "dimensions": 384,
        "model": "all-MiniLM-L6-v2",
        "usage": {"tokens": 4},
        "truncated": False,
    }


async def test_a_list_gives_a_list_in_the_same_order(client: Client) -> None:
    """Each text of a list has the vector that it has alone."""
    texts = ["first text", "second, longer text", "third"]
    together = (await client.ask("embeddings", {"text": texts}))["embeddings"]
    alone = [(await client.ask("embeddings", {"text": text}))["embeddings"] for text in texts]
    np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize(("kind", "data"), [("embeddings", {"text": ["a", "b"]}), ("process", {"text": "a"})])
async def test_the_stages_of_a_request_are_told_when_asked(
    client: Client, kind: str, data: dict[str, Any]
) -> None:
    """Queue, tokenising and computing in order, none below zero, together within the total."""
    timing = (await client.ask(kind, data, timing=True))["timing"]
    assert list(timing) == ["queue_ms", "tokenize_ms", "infer_ms", "total_ms"]
    total = timing.pop("total_ms")
    assert min(timing.values()) >= 0
    assert 0 < sum(timing.values()) <= total + 0.01
    assert "timing" not in await client.ask(kind, data)


async def test_fields_may_stand_at_the_top_level(client: Client) -> None:
    """Older clients send no `data`."""
    reply = await client.ask("embeddings", text="flat", config={"encoding": "base64"})
    assert len(base64.b64decode(reply["embeddings"])) == 4 * 384


async def test_dimensions_other_than_native_are_refused_with_what_is_allowed(client: Client) -> None:
    """This model was not trained for shorter vectors, and the refusal says so."""
    reply = await client.ask("embeddings", {"text": "a", "config": {"dimensions": 128}})
    assert reply["code"] == "invalid_request"
    assert "384" in reply["error"]
    native = await client.ask("embeddings", {"text": "a", "config": {"dimensions": 384}})
    assert native["dimensions"] == 384


def test_a_matryoshka_model_allows_shorter_vectors() -> None:
    """Only for a model trained for it is a smaller width chosen."""
    info = ModelInfo("m", 768, 512, "cpu", "torch", "float32", matryoshka=True)
    assert choose_dimensions(info, 128) == 128
    assert choose_dimensions(info, None) == 768
    with pytest.raises(InvalidRequest, match="1 to 768"):
        choose_dimensions(info, 1024)


async def test_long_texts_are_cut_and_said_to_be(client: Client) -> None:
    """The default cuts and flags; `truncate: false` refuses."""
    text = "word " * 400
    assert (await client.ask("embeddings", {"text": text}))["truncated"] is True
    refused = await client.ask("embeddings", {"text": text, "config": {"truncate": False}})
    assert (refused["status"], refused["code"]) == ("error", "too_large")
    assert "256" in refused["error"]


@pytest.mark.parametrize("count", [2049, 5000])
async def test_too_many_texts_are_refused(client: Client, count: int) -> None:
    """One request takes up to 2048 texts, and the refusal names the limit."""
    reply = await client.ask("embeddings", {"text": ["a"] * count})
    assert reply["code"] == "invalid_request"
    assert "2048" in reply["error"]


async def test_a_full_request_is_answered(client: Client) -> None:
    """2048 texts in one request give 2048 vectors."""
    texts = [f"text {place}" for place in range(2048)]
    reply = await client.ask(
        "embeddings", {"text": texts, "config": {"encoding": "binary", "dtype": "ubinary"}}
    )
    assert reply["shape"] == [2048, 48]
    assert len(base64.b64decode(reply["embeddings"])) == 2048 * 48


async def test_a_text_with_too_many_characters_is_too_large(
    client: Client, settings: InferenceSettings
) -> None:
    """The limit in characters is for memory's sake and has its own code."""
    long = "x" * (settings.max_text_chars + 1)
    reply = await client.ask("embeddings", {"text": long})
    assert (reply["code"], reply["details"]["field"]) == ("too_large", "text")
    reply = await client.ask("process", {"text": "a", "context": ["b", long]})
    assert (reply["code"], reply["details"]["field"]) == ("too_large", "context.1")


async def test_a_context_with_too_many_entries_is_refused_by_its_name(
    client: Client, settings: InferenceSettings
) -> None:
    """The text itself is not one of them."""
    entries = ["b"] * (settings.max_request_texts + 1)
    reply = await client.ask("process", {"text": "a", "context": entries})
    assert (reply["code"], reply["details"]["field"]) == ("invalid_request", "context")


async def test_process_without_context(client: Client) -> None:
    """Alone, a text is fully surprising; nothing is predicted or suggested."""
    reply = await client.ask("process", {"text": "the harbour was quiet"})
    assert len(reply["embeddings"]) == 384
    assert (reply["surprise"], reply["diversity"]) == (1.0, 0.0)
    assert 0.6 < reply["significance"] <= 1.0
    assert (reply["predictions"], reply["suggestions"]) == ([], [])
    assert reply["text"] == "the harbour was quiet"


async def test_process_ranks_its_context_by_relevance(client: Client) -> None:
    """What is nearest to the text comes first, with all four fields, in one pass."""
    context: list[Any] = [
        "quarterly revenue exceeded forecasts",
        {"role": "user", "content": "the harbour was quiet today"},
        {"text": "a storm hit the harbour", "timestamp": 1_700_000_000_000},
    ]
    reply = await client.ask("process", {"text": "the harbour was quiet", "context": context})
    predictions = reply["predictions"]
    assert predictions[0]["text"] == "the harbour was quiet today"
    assert predictions[-1]["text"] == "quarterly revenue exceeded forecasts"
    assert all(set(each) == {"text", "significance", "surprise", "similarity"} for each in predictions)
    assert set(reply["suggestions"]) <= {each["text"] for each in predictions}
    embedded = await client.ask("embeddings", {"text": "the harbour was quiet"})
    np.testing.assert_allclose(reply["embeddings"], embedded["embeddings"], atol=1e-5)


async def test_an_expired_request_is_not_computed(client: Client) -> None:
    """`timeout_ms: 0` is answered with the deadline's code and leaves the counts alone."""
    before = (await client.ask("stats"))["stats"]["texts"]
    reply = await client.ask("embeddings", {"text": "late", "timeout_ms": 0})
    assert reply["code"] == "deadline_exceeded"
    assert (await client.ask("stats"))["stats"]["texts"] == before


async def test_stats_have_every_figure_of_the_contract(client: Client) -> None:
    """The dashboard and the clients read these names."""
    await client.ask("embeddings", {"text": "count me"})
    stats = (await client.ask("stats"))["stats"]
    assert set(FIGURES.split()) <= set(stats)
    assert (stats["service"], stats["model"], stats["dimensions"]) == ("inference", "all-MiniLM-L6-v2", 384)
    assert (stats["texts"], stats["tokens"]) == (1, 4)
    assert set(stats["latency_ms"]) == {"total", "queue", "tokenize", "infer"}
    assert set(stats["latency_ms"]["infer"]) == {"p50", "p99"}
    assert stats["queue"]["limit"] == 16_384
    assert stats["peers"] == {"memory": "ws://localhost:5000"}


async def test_many_requests_on_one_connection_keep_their_order(client: Client) -> None:
    """Pipelined requests are answered one each, in the order they were sent."""
    lone = [(await client.ask("embeddings", {"text": f"text {place}"}))["embeddings"] for place in range(20)]
    await asyncio.gather(
        *(
            client.socket.send(f'{{"type": "embeddings", "id": {place}, "text": "text {place}"}}')
            for place in range(20)
        )
    )
    replies = [json.loads(await client.socket.recv()) for _ in range(20)]
    assert [reply["id"] for reply in replies] == list(range(20))
    np.testing.assert_allclose([reply["embeddings"] for reply in replies], lone, atol=1e-5)


async def test_over_a_megabyte_a_stock_client_needs_another_encoding(running: Any) -> None:
    """300 vectors as floats close a client with its default limit; as base64 or binary they fit."""
    texts = [f"text {place}" for place in range(300)]
    async with connect(running.ws) as stock:
        with pytest.raises(ConnectionClosedError) as closed:
            await Client(stock).ask("embeddings", {"text": texts})
        assert closed.value.sent is not None
        assert closed.value.sent.code == 1009
    for config in ({"encoding": "base64"}, {"encoding": "binary"}, {"encoding": "binary", "dtype": "int8"}):
        async with connect(running.ws) as stock:
            reply = await Client(stock).ask("embeddings", {"text": texts, "config": config})
            assert reply["status"] == "success"


@pytest.mark.parametrize("count", [1, 200])
async def test_two_hundred_float_vectors_fit_a_stock_client(running: Any, count: int) -> None:
    """Floats are written short enough for what clients usually ask for at once."""
    async with connect(running.ws) as stock:
        texts = [f"text {place}" for place in range(count)]
        assert len((await Client(stock).ask("embeddings", {"text": texts}))["embeddings"]) == count


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "ubinary"])
async def test_shorter_vectors_of_a_matryoshka_model_are_normalised_again(
    serve: Any, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    """Over the wire, in every dtype: the first numbers of the full vector, scaled back to unit length."""
    monkeypatch.setattr(debug_engine, "ModelInfo", partial(ModelInfo, matryoshka=True))
    started = await serve(build_service(InferenceSettings(backend="debug")))
    async with connect(started.ws) as socket:
        client = Client(socket)
        while (await client.ask("stats"))["stats"]["phase"] != "ready":
            pass
        full = np.array((await client.ask("embeddings", {"text": "a quiet harbour"}))["embeddings"])
        config = {"dimensions": 64, "dtype": dtype}
        short = await client.ask("embeddings", {"text": "a quiet harbour", "config": config})
    expected = full[:64] / np.linalg.norm(full[:64])
    numbers = np.array(short["embeddings"])
    assert short["dimensions"] == 64
    if dtype == "ubinary":
        np.testing.assert_array_equal(np.unpackbits(numbers.astype(np.uint8)), expected > 0)
        return
    scale = short.get("scale", 1.0)
    np.testing.assert_allclose(numbers * scale, expected, atol={"int8": 3e-3}.get(dtype, 1e-3))
