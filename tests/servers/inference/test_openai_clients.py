"""Clients that people really use, unmodified: openai (Python and npm), LangChain, LlamaIndex.

LangChain and LlamaIndex are imported where they are used, since that takes seconds. The npm package lies
wherever NODE_PATH points; where it is missing, its test is skipped and says what to install.
"""

import asyncio
import json
import os
import shutil
import subprocess
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest

from servers.embedding.debug_engine import DebugEngine
from servers.embedding.engine import Tokens, Vectors
from servers.inference.assembly import build_service
from servers.inference.settings import InferenceSettings

MODEL = "all-MiniLM-L6-v2"
TEXTS = ["a quiet harbour", "a storm"]
TOKEN = "a-token-of-some-length"
SCRIPT = Path(__file__).with_name("openai_client.cjs")
PATIENCE_S = 20.0


@pytest.fixture
async def sdk(running: Any) -> AsyncIterator[openai.AsyncOpenAI]:
    """The asynchronous SDK as a user sets it up, without retries."""
    async with openai.AsyncOpenAI(base_url=f"{running.http}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
async def connections() -> AsyncIterator[dict[str, Any]]:
    """HTTP clients for libraries that never close their own."""
    with openai.DefaultHttpxClient() as plain:
        async with openai.DefaultAsyncHttpxClient() as asynchronous:
            yield {"http_client": plain, "async": asynchronous}


@pytest.fixture
async def vectors(sdk: openai.AsyncOpenAI) -> np.ndarray[Any, Any]:
    """What the server gives for the texts."""
    answer = await sdk.embeddings.create(model=MODEL, input=TEXTS, encoding_format="float")
    return np.array([each.embedding for each in answer.data])


async def test_the_synchronous_sdk_gets_the_same(running: Any, vectors: np.ndarray[Any, Any]) -> None:
    """In a thread, with its default base64 and with dimensions given."""

    def ask() -> openai.types.CreateEmbeddingResponse:
        with openai.OpenAI(base_url=f"{running.http}/v1", api_key="none", max_retries=0) as client:
            return client.embeddings.create(model=MODEL, input=TEXTS, dimensions=384)

    answer = await asyncio.to_thread(ask)
    np.testing.assert_allclose([each.embedding for each in answer.data], vectors, atol=1e-7)


async def test_large_batches_arrive_whole_and_in_order(sdk: openai.AsyncOpenAI) -> None:
    """2,048 texts, more than a megabyte of answer, each vector at its place."""
    texts = [f"text number {place}" for place in range(2048)]
    answer = await sdk.embeddings.create(model=MODEL, input=texts)
    assert [each.index for each in answer.data] == list(range(2048))
    alone = await sdk.embeddings.create(model=MODEL, input=texts[1500])
    np.testing.assert_allclose(answer.data[1500].embedding, alone.data[0].embedding, atol=1e-6)


async def test_a_wrong_key_is_an_authentication_error(serve: Callable[..., Awaitable[Any]]) -> None:
    """With a token configured the SDK raises 401 for others, and works with it as its API key."""
    service = build_service(InferenceSettings(backend="debug"))
    started = await serve(service, token=TOKEN)
    base_url = f"{started.http}/v1"
    async with openai.AsyncOpenAI(base_url=base_url, api_key="wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError):
            await client.embeddings.create(model=MODEL, input="x")
    async with openai.AsyncOpenAI(base_url=base_url, api_key=TOKEN, max_retries=9) as client:
        assert len((await client.embeddings.create(model=MODEL, input="x")).data) == 1


async def test_an_input_that_is_too_long_is_413(sdk: openai.AsyncOpenAI) -> None:
    """The SDK raises its error for the status, whose message says what to do."""
    with pytest.raises(openai.APIStatusError, match="Split the text") as refused:
        await sdk.embeddings.create(model=MODEL, input="x" * 1_000_001)
    assert refused.value.status_code == 413
    assert refused.value.code == "too_large"


async def test_a_full_queue_is_a_rate_limit_with_the_time_to_wait(
    serve: Callable[..., Awaitable[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the model computes and the queue is full, the SDK raises 429 and is told when to come back."""
    gate, entered = threading.Event(), threading.Event()
    forward = DebugEngine.forward

    def held(self: DebugEngine, batch: list[Tokens]) -> Vectors:
        if threading.current_thread().name == "model" and is_up.is_set():
            entered.set()
            assert gate.wait(PATIENCE_S)
        return forward(self, batch)

    is_up = threading.Event()
    monkeypatch.setattr(DebugEngine, "forward", held)
    started = await serve(build_service(InferenceSettings(backend="debug", queue_items=1)))
    async with openai.AsyncOpenAI(base_url=f"{started.http}/v1", api_key="none", max_retries=9) as patient:
        await patient.embeddings.create(model=MODEL, input="until it is ready")
        is_up.set()
        waiting = asyncio.create_task(patient.embeddings.create(model=MODEL, input="first"))
        assert await asyncio.to_thread(entered.wait, PATIENCE_S)
        with pytest.raises(openai.RateLimitError) as refused:
            await patient.with_options(max_retries=0).embeddings.create(model=MODEL, input="second")
        gate.set()
        assert len((await waiting).data) == 1
    assert int(refused.value.response.headers["retry-after"]) >= 1
    assert refused.value.code == "overloaded"


async def test_while_loading_the_sdk_is_told_to_come_back(serve: Callable[..., Awaitable[Any]]) -> None:
    """503 with Retry-After, which the SDK's own retries honour."""
    service = build_service(InferenceSettings(backend="debug"))
    service.start = asyncio.Event().wait  # type: ignore[assignment]  # a load that never ends
    started = await serve(service)
    async with openai.AsyncOpenAI(base_url=f"{started.http}/v1", api_key="none", max_retries=0) as client:
        with pytest.raises(openai.InternalServerError) as refused:
            await client.embeddings.create(model=MODEL, input="x")
    assert refused.value.status_code == 503
    assert int(refused.value.response.headers["retry-after"]) >= 1


async def test_langchain_with_its_default_is_told_the_cure(
    running: Any, connections: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sends token ids of another vocabulary, which would give wrong vectors; the refusal names the way."""
    import tiktoken
    from langchain_openai import OpenAIEmbeddings

    letters = {bytes([each]): each for each in range(256)}
    vocabulary = tiktoken.Encoding("letters", pat_str=r"[\s\S]", mergeable_ranks=letters, special_tokens={})
    # Its own would be downloaded, and this is about what it sends.
    monkeypatch.setattr(tiktoken, "get_encoding", lambda name: vocabulary)
    embeddings = OpenAIEmbeddings(
        model=MODEL,
        base_url=f"{running.http}/v1",
        api_key="none",
        http_client=connections["http_client"],
        http_async_client=connections["async"],
    )
    with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False"):
        await asyncio.to_thread(embeddings.embed_documents, TEXTS)


async def test_langchain_works_with_the_cure(
    running: Any, connections: dict[str, Any], vectors: np.ndarray[Any, Any]
) -> None:
    """Documents and queries, in a thread and asynchronously."""
    from langchain_openai import OpenAIEmbeddings

    embeddings = OpenAIEmbeddings(
        model=MODEL,
        base_url=f"{running.http}/v1",
        api_key="none",
        check_embedding_ctx_length=False,
        http_client=connections["http_client"],
        http_async_client=connections["async"],
    )
    documents = await asyncio.to_thread(embeddings.embed_documents, TEXTS)
    np.testing.assert_allclose(documents, vectors, atol=1e-6)
    np.testing.assert_allclose(await embeddings.aembed_query(TEXTS[0]), vectors[0], atol=1e-6)


async def test_llama_index_works_as_it_is(
    running: Any, connections: dict[str, Any], vectors: np.ndarray[Any, Any]
) -> None:
    """OpenAILikeEmbedding, single and in batches."""
    from llama_index.embeddings.openai_like import OpenAILikeEmbedding

    embedding = OpenAILikeEmbedding(
        model_name=MODEL,
        api_base=f"{running.http}/v1",
        api_key="none",
        max_retries=0,
        http_client=connections["http_client"],
        async_http_client=connections["async"],
    )
    batch = await asyncio.to_thread(embedding.get_text_embedding_batch, TEXTS)
    np.testing.assert_allclose(batch, vectors, atol=1e-6)
    np.testing.assert_allclose(await embedding.aget_query_embedding(TEXTS[1]), vectors[1], atol=1e-6)


def has_npm_package() -> bool:
    """Whether node is here and finds `openai` through NODE_PATH."""
    node = shutil.which("node")
    if node is None or "NODE_PATH" not in os.environ:
        return False
    return subprocess.run([node, "-e", "require.resolve('openai')"], capture_output=True).returncode == 0


@pytest.mark.skipif(
    not has_npm_package(), reason="npm install openai, and point NODE_PATH at its node_modules, to run this"
)
async def test_the_sdk_of_npm_gets_the_same(running: Any, vectors: np.ndarray[Any, Any]) -> None:
    """Base64 by default, floats, usage, the list of models, and the error of its own class."""
    node = await asyncio.create_subprocess_exec(
        "node", str(SCRIPT), f"{running.http}/v1", MODEL, stdout=subprocess.PIPE
    )
    output, _ = await node.communicate()
    said = json.loads(output)
    np.testing.assert_allclose(said["byDefault"], vectors, atol=1e-6)
    np.testing.assert_allclose(said["floats"], vectors, atol=1e-6)
    assert said["usage"] == {"prompt_tokens": 9, "total_tokens": 9}
    assert said["models"][0] == MODEL
    assert said["failure"] == {"name": "NotFoundError", "status": 404, "code": "model_not_found"}
