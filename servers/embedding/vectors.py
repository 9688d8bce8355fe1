"""What is done to vectors after the model: normalise, shorten, quantise, write as bytes.

Pure numpy. It decides the number formats that `embeddings` offers (protocol.md section 5); whether a model
allows shorter vectors is decided by `ModelInfo`.
"""

import base64
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from servers.embedding.engine import Vectors

Dtype = Literal["float32", "float16", "int8", "ubinary"]

_LITTLE_ENDIAN: Final = {"float32": "<f4", "float16": "<f2", "int8": "|i1", "ubinary": "|u1"}
_SMALLEST_LENGTH: Final = np.float32(1e-12)


def normalise(vectors: Vectors) -> Vectors:
    """Return each row scaled to unit length, in float32; a zero row stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, _SMALLEST_LENGTH), dtype=np.float32)


def shorten(vectors: Vectors, dimensions: int, *, renormalise: bool) -> Vectors:
    """Return the first `dimensions` numbers of each row, scaled back to unit length if `renormalise`.

    Only means anything for a model trained for it (Matryoshka representation learning, arXiv:2205.13147).
    """
    if dimensions == vectors.shape[1]:
        return vectors
    cut = np.ascontiguousarray(vectors[:, :dimensions])
    return normalise(cut) if renormalise else cut


def quantise(vectors: Vectors, dtype: Dtype) -> tuple[NDArray[Any], Vectors | None]:
    """Return the rows as `dtype`, and for int8 the scale per row (row ≈ numbers · scale), else None.

    float16 rounds to nearest. int8 uses the whole of -127…127 in every row, so that cosine similarity needs
    no scale. ubinary packs the signs (1: above zero), eight to a byte, the first in the highest bit: ceil(n
    / 8) bytes.
    """
    if dtype == "float16":
        return vectors.astype(np.float16), None
    if dtype == "int8":
        scale = np.maximum(np.abs(vectors).max(axis=1), _SMALLEST_LENGTH) / np.float32(127.0)
        return np.rint(vectors / scale[:, None]).astype(np.int8), scale.astype(np.float32)
    if dtype == "ubinary":
        return np.packbits(vectors > 0, axis=1), None
    return vectors, None


def to_base64(numbers: NDArray[Any], dtype: Dtype) -> str:
    """Return the numbers' bytes, little-endian and row after row, as standard base64 text."""
    return base64.b64encode(numbers.astype(_LITTLE_ENDIAN[dtype], copy=False).tobytes()).decode("ascii")
