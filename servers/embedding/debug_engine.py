"""The engine without a model: deterministic vectors from hashes, ready at once (`backend: debug`).

It decides vectors that behave like a model's in what tests and trials rely on: the same text always gives
the same vector, different texts give different ones, texts that share words lie nearer to each other, and
long texts are cut. It knows no language: nearness is shared words, nothing more.
"""

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np

from servers.embedding.engine import DeviceMemory, ModelInfo, Tokens, Vectors

DIMENSIONS: Final = 384
MAX_INPUT_TOKENS: Final = 256
_BEGIN: Final = 1
_END: Final = 2
_FIRST_WORD_ID: Final = 3
_WORD: Final = re.compile(r"\w+|[^\w\s]")
_ORDER_WEIGHT: Final = 0.25


def _hash(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=6).digest(), "little")


@lru_cache(maxsize=4096)
def _direction(data: bytes) -> Vectors:
    """Return the unit vector that stands for `data`; a fixed function of the bytes on every machine."""
    raw = np.frombuffer(hashlib.shake_256(data).digest(DIMENSIONS), dtype=np.uint8)
    centred = raw.astype(np.float32) - np.float32(127.5)
    return np.asarray(centred / np.linalg.norm(centred), dtype=np.float32)


class DebugEngine:
    """An `Engine` whose vectors are sums of one pseudo-random direction per word, and a little for order."""

    def __init__(self, name: str = "debug") -> None:
        """Serve under `name`, as the real model would."""
        self._info = ModelInfo(name, DIMENSIONS, MAX_INPUT_TOKENS, "cpu", "debug", "float32")

    @property
    def info(self) -> ModelInfo:
        """What is loaded: 384 dimensions, 256 tokens, on the CPU."""
        return self._info

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Return one token per word or punctuation mark between two marks of begin and end, 256 at most."""
        return [self._tokens(text) for text in texts]

    def _tokens(self, text: str) -> Tokens:
        words = _WORD.findall(text)
        kept = words[: MAX_INPUT_TOKENS - 2]
        ids = [_FIRST_WORD_ID + _hash(word.encode("utf-8", "surrogatepass")) for word in kept]
        return Tokens(np.array([_BEGIN, *ids, _END], dtype=np.int64), truncated=len(words) > len(kept))

    def forward(self, batch: Sequence[Tokens]) -> Vectors:
        """Return the sum of the word directions of each text, in order; never a zero vector."""
        return np.stack([self._vector(tokens) for tokens in batch])

    @staticmethod
    def _vector(tokens: Tokens) -> Vectors:
        total = np.float32(_ORDER_WEIGHT) * _direction(tokens.ids.astype("<i8").tobytes())
        for word in tokens.ids[1:-1]:
            total = total + _direction(int(word).to_bytes(8, "little"))
        return np.asarray(total, dtype=np.float32)

    def memory(self) -> DeviceMemory | None:
        """Return None: there is no device."""
        return None

    def close(self) -> None:
        """Do nothing: there is no model to free."""
