"""Vectors on the wire: what a client decodes is what the worker gave, in every encoding and dtype."""

import asyncio
import base64
import json
from itertools import product
from typing import Any

import numpy as np
import pytest

from servers.embedding.vectors import Dtype, normalise
from servers.inference.pieces import ROWS_AT_ONCE
from servers.inference.replies import vectors_payload
from servers.inference.requests import Encoding
from servers.protocol import encode

VECTORS = normalise(np.random.default_rng(7).normal(size=(3, 16)).astype(np.float32))
NUMPY: dict[str, str] = {"float32": "<f4", "float16": "<f2", "int8": "i1", "ubinary": "u1"}
CASES = list(product(("float", "base64", "binary"), NUMPY, (True, False)))


def decoded(payload: dict[str, Any], dtype: str) -> Any:
    """The numbers that a client reads from a reply, by the documented rules."""
    embeddings, encoding = payload["embeddings"], payload.get("encoding", "float")
    if encoding == "float":
        return np.array(embeddings)
    if encoding == "binary":
        return np.frombuffer(base64.b64decode(embeddings), NUMPY[dtype]).reshape(payload["shape"])
    if isinstance(embeddings, str):
        return np.frombuffer(base64.b64decode(embeddings), NUMPY[dtype])
    return np.array([np.frombuffer(base64.b64decode(each), NUMPY[dtype]) for each in embeddings])


@pytest.mark.parametrize(("encoding", "dtype", "is_single"), CASES)
async def test_every_encoding_and_dtype_round_trips_through_the_wire(
    encoding: Encoding, dtype: Dtype, is_single: bool
) -> None:
    """After JSON and decoding, the vectors are the same within the dtype's precision, flat for one text."""
    vectors = VECTORS[:1] if is_single else VECTORS
    reply = await vectors_payload(vectors, is_single=is_single, encoding=encoding, dtype=dtype)
    payload = json.loads(encode(reply))
    numbers = decoded(payload, dtype)
    expected = vectors[0] if is_single else vectors
    if dtype == "ubinary":
        assert np.array_equal(np.unpackbits(numbers.astype(np.uint8), axis=-1), expected > 0)
        return
    if dtype == "int8":
        numbers = numbers * np.expand_dims(np.array(payload["scale"]), -1)
    tolerance = {"float32": 0.0, "float16": 1e-3, "int8": 5e-3}[dtype]
    np.testing.assert_allclose(np.asarray(numbers, np.float32), expected, atol=tolerance)


async def test_the_default_reply_says_nothing_that_old_clients_do_not_know() -> None:
    """Plain floats need no explanation; every other form names itself."""
    plain = await vectors_payload(VECTORS, is_single=False, encoding="float", dtype="float32")
    assert set(plain) == {"embeddings"}
    other = await vectors_payload(VECTORS, is_single=False, encoding="binary", dtype="int8")
    assert set(other) == {"embeddings", "encoding", "dtype", "shape", "scale"}


async def test_floats_are_written_with_no_more_digits_than_float32_holds() -> None:
    """A default reply of 100 vectors stays below the megabyte that stock clients accept."""
    vectors = normalise(np.random.default_rng(3).normal(size=(100, 384)).astype(np.float32))
    text = encode(await vectors_payload(vectors, is_single=False, encoding="float", dtype="float32"))
    assert len(text) < 1 << 20


async def test_a_large_reply_lets_others_run_while_it_is_written() -> None:
    """Between slices of a large reply the loop goes on; the reply is the same as if written at once."""
    vectors = normalise(np.random.default_rng(3).normal(size=(300, 8)).astype(np.float32))
    others = 0

    async def count() -> None:
        nonlocal others
        while True:
            others += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    reply = await vectors_payload(vectors, is_single=False, encoding="float", dtype="float32")
    counting.cancel()
    assert others >= 300 // ROWS_AT_ONCE
    np.testing.assert_array_equal(np.array(json.loads(encode(reply))["embeddings"], np.float32), vectors)


async def test_a_large_reply_to_an_id_beyond_64_bits_is_written_too() -> None:
    """What the fast writer cannot say exactly, the slow one says, vectors included."""
    reply = await vectors_payload(VECTORS, is_single=False, encoding="float", dtype="float32")
    document = json.loads(encode({**reply, "id": 1 << 70}))
    assert document["id"] == 1 << 70
    np.testing.assert_array_equal(np.array(document["embeddings"], np.float32), VECTORS)
