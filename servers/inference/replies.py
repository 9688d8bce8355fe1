"""How vectors go onto the wire: `embeddings` in each encoding and dtype (protocol.md section 5).

`float` sends arrays of JSON numbers, written directly from numpy with no more digits than float32 holds.
`base64` sends one base64 text per vector: the little-endian bytes of `dtype`. `binary` sends, since a text
frame can hold nothing else, one base64 text for all vectors together: the rows' little-endian bytes one after
the other, to be cut by `shape`. That is one decode and one reshape for the client.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from servers.embedding.engine import Vectors
from servers.embedding.vectors import Dtype, quantise, to_base64
from servers.inference.pieces import written_rows
from servers.inference.requests import Encoding


async def vectors_payload(
    vectors: Vectors, *, is_single: bool, encoding: Encoding, dtype: Dtype
) -> dict[str, Any]:
    """Return `embeddings` and what is needed to read them; a bare string's vector is flat.

    Beside `embeddings`: `dtype` and `encoding` unless both are the defaults, `shape` for `binary` ([texts,
    numbers], or [numbers] if flat), and for int8 `scale` (one number per vector: vector ≈ numbers · scale).
    """
    numbers, scale = quantise(vectors, dtype)
    shown = numbers[0] if is_single else numbers
    payload: dict[str, Any] = {"embeddings": await _encoded(shown, encoding, dtype)}
    if (encoding, dtype) != ("float", "float32"):
        payload |= {"encoding": encoding, "dtype": dtype}
    if encoding == "binary":
        payload["shape"] = list(shown.shape)
    if scale is not None:
        payload["scale"] = scale[0] if is_single else scale
    return payload


async def _encoded(numbers: NDArray[Any], encoding: Encoding, dtype: Dtype) -> Any:
    if encoding == "binary" or (encoding == "base64" and numbers.ndim == 1):
        return to_base64(numbers, dtype)
    if encoding == "base64":
        return await written_rows(numbers, lambda rows: [to_base64(row, dtype) for row in rows])
    if numbers.ndim == 1:
        return np.ascontiguousarray(numbers)
    return await written_rows(numbers, np.ascontiguousarray)
