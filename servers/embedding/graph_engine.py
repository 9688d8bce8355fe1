"""An engine around an exported graph: tokenizers in front, any graph runtime in the middle, numpy behind.

It decides everything that the runtimes have in common: parts, padding, pooling in float32, and what is told
about the model. What runs the graph (`openvino_engine`, `onnx_engine`) is given to it. Nothing here imports
torch or transformers: a server on such an engine starts in a fraction of their import time and memory.
"""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
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

        Later parts are computed meanwhile. Raises `RuntimeError` with the runtime's own words, or
        `MemoryError`; however it ends, nothing is computed any more once it has.
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

    @property
    def info(self) -> ModelInfo:
        """What is loaded."""
        return self._info

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Return each text's tokens; the library releases the interpreter lock meanwhile."""
        return self._tokenizer.tokenize(texts)

    def forward(self, batch: Sequence[Tokens]) -> Vectors:
        """Return the pooled float32 vectors of `batch`, in order, not normalised."""
        lengths = [len(tokens) for tokens in batch]
        parts = deal(lengths, self._graph.streams)
        padded = [pad([batch[place] for place in part], self._card.pad_id) for part in parts]
        pooled = np.empty((len(batch), self._info.dimensions), dtype=np.float32)
        try:
            with closing(self._graph.infer(padded)) as computed:
                for part, hidden in zip(parts, computed, strict=True):
                    pooled[part] = pool(hidden, [lengths[place] for place in part], self._card.pooling)
        except MemoryError as error:
            raise EngineOutOfMemory(str(error)) from error
        except RuntimeError as error:
            # Both runtimes report a failed allocation as one error among many, told apart by its words only.
            if any(words in str(error).lower() for words in _ALLOCATION_FAILED):
                raise EngineOutOfMemory(str(error)) from error
            raise
        return pooled

    def memory(self) -> DeviceMemory | None:
        """Return None: these engines run on the CPU."""
        return None

    def close(self) -> None:
        """Free the graph."""
        self._graph.close()


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
