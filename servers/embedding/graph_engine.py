"""An engine around an exported graph: tokenizers in front, any graph runtime in the middle, numpy behind.

It decides everything that the runtimes have in common: parts, padding, pooling in float32, and what is told
about the model. What runs the graph (`openvino_engine`, `onnx_engine`) is given to it. Nothing here imports
torch or transformers: a server on such an engine starts in a fraction of their import time and memory.
"""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from threading import Lock
from typing import Any, Protocol, Self, get_args

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from servers.embedding.engine import (
    DeviceMemory,
    EngineOutOfMemory,
    ModelInfo,
    Tokens,
    Vectors,
)
from servers.embedding.parts import deal
from servers.embedding.pooling import Padded, PoolingMode, pad, pool
from servers.embedding.tokenizer import TextTokenizer

_ALLOCATION_FAILED = ("bad_alloc", "bad alloc", "failed to allocate memory", "cannot allocate memory")


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What the exporter read of a model and no graph holds: how texts go in and how vectors come out."""

    dimensions: int
    max_input_tokens: int
    pad_id: int
    pooling: PoolingMode
    prompt: str = ""
    matryoshka: bool = False
    matryoshka_dimensions: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the card as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        """Return the card that `to_json` wrote. Raises `TypeError` or `ValueError` for anything else."""
        card = cls(**fields)
        if card.pooling not in get_args(PoolingMode):
            raise ValueError(f"unknown pooling mode {card.pooling!r}")
        return replace(card, matryoshka_dimensions=tuple(card.matryoshka_dimensions))


class Graph(Protocol):
    """A transformer that a runtime has loaded: padded token ids in, token vectors out."""

    @property
    def streams(self) -> int:
        """How many parts of a batch are computed at once."""

    def infer(self, parts: Sequence[Padded]) -> Generator[NDArray[np.float32], None, None]:
        """Yield each part's float32 token vectors (texts, width, dimensions), in order; valid until the next.

        Later parts are computed meanwhile; may be used on `streams` threads at once. Raises `RuntimeError`
        with the runtime's own words, or `MemoryError`; however it ends, nothing is computed any more once it
        has.
        """

    def close(self) -> None:
        """Free the graph; `infer` is not called any more."""


class GraphEngine:
    """An `Engine` on the CPU around one `Graph`."""

    def __init__(self, graph: Graph, card: ModelCard, tokenizer: Tokenizer, info: ModelInfo) -> None:
        """Take over `graph`, which nobody else may use from now on."""
        self._graph = graph
        self._card = card
        self._tokenizer = TextTokenizer(tokenizer, card.max_input_tokens, card.prompt)
        self._info = info
        self._pool = ThreadPoolExecutor(graph.streams, thread_name_prefix="stream")

    @property
    def info(self) -> ModelInfo:
        """What is loaded."""
        return self._info

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Return each text's tokens; the library releases the interpreter lock meanwhile."""
        return self._tokenizer.tokenize(texts)

    @property
    def streams(self) -> int:
        """How many parts of batches are computed at once."""
        return self._graph.streams

    def forward(self, batch: Sequence[Tokens]) -> Vectors:
        """Return the pooled float32 vectors of `batch`, in order, not normalised."""
        return self.begin(batch, self._graph.streams, lambda: None).vectors()

    def begin(self, batch: Sequence[Tokens], streams: int, on_part: Callable[[], None]) -> "BegunParts":
        """Begin to compute `batch` on at most `streams` streams; each tells `on_part` when it is free."""
        parts = deal([len(tokens) for tokens in batch], streams)
        left = _Countdown(len(parts), streams, on_part)
        computed = []
        for part in parts:
            future = self._pool.submit(self._computed, [batch[place] for place in part])
            future.add_done_callback(left.count)
            computed.append(future)
        left.spare()
        return BegunParts(parts, computed, min(streams, len(parts)), self._info.dimensions)

    def _computed(self, part: Sequence[Tokens]) -> Vectors:
        """Compute one part; runs on a thread of the pool, of which there is one for each stream."""
        with closing(self._graph.infer([pad(part, self._card.pad_id)])) as hidden:
            return pool(next(hidden), [len(tokens) for tokens in part], self._card.pooling)

    def memory(self) -> DeviceMemory | None:
        """Return None: these engines run on the CPU."""
        return None

    def close(self) -> None:
        """Free the graph, once nothing is computed any more."""
        self._pool.shutdown()
        self._graph.close()


class _Countdown:
    """Tells how many of a batch's streams have nothing more to do for it, from how many parts have ended."""

    def __init__(self, parts: int, streams: int, on_part: Callable[[], None]) -> None:
        self._lock = Lock()
        self._left, self._streams, self._on_part = parts, streams, on_part
        self._spare = max(0, streams - parts)

    def spare(self) -> None:
        """Tell of the streams that there was no part for."""
        for _ in range(self._spare):
            self._on_part()

    def count(self, ended: "Future[Vectors]") -> None:
        """Take note of a part's end."""
        with self._lock:
            self._left -= 1
            is_free = self._left < self._streams
        if is_free:
            self._on_part()


class BegunParts:
    """A batch whose parts are being computed."""

    def __init__(
        self,
        parts: Sequence[Sequence[int]],
        computed: "Sequence[Future[Vectors]]",
        streams: int,
        dimensions: int,
    ) -> None:
        """Wait for the vectors of each of `parts`, the places of their texts in the batch."""
        self._parts, self._computed, self._dimensions = parts, computed, dimensions
        self._streams = streams

    @property
    def streams(self) -> int:
        """On how many streams."""
        return self._streams

    def is_done(self) -> bool:
        """Tell whether every part has ended."""
        return all(future.done() for future in self._computed)

    def vectors(self) -> Vectors:
        """Return the batch's vectors once every part has ended, or raise what a part raised."""
        wait(self._computed)
        pooled = np.empty((sum(map(len, self._parts)), self._dimensions), dtype=np.float32)
        try:
            for part, future in zip(self._parts, self._computed, strict=True):
                pooled[list(part)] = future.result()
        except MemoryError as error:
            raise EngineOutOfMemory(str(error)) from error
        except RuntimeError as error:
            # Both runtimes report a failed allocation as one error among many, told apart by its words only.
            if any(words in str(error).lower() for words in _ALLOCATION_FAILED):
                raise EngineOutOfMemory(str(error)) from error
            raise
        return pooled


def describe(card: ModelCard, name: str, backend: str, dtype: str, reason: str | None = None) -> ModelInfo:
    """Return what clients see of the model `name` that `card` describes, on the CPU."""
    return ModelInfo(
        name=name,
        dimensions=card.dimensions,
        max_input_tokens=card.max_input_tokens,
        device="cpu",
        backend=backend,
        dtype=dtype,
        matryoshka=card.matryoshka,
        matryoshka_dimensions=card.matryoshka_dimensions,
        reason=reason,
    )
