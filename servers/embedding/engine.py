"""What an embedding engine is: the `Engine` protocol, its values and its errors.

It decides the shape of the boundary between the model thread and whatever computes vectors. It knows neither
queues nor batches nor any particular library: `torch_engine`, `graph_engine` (OpenVINO, ONNX Runtime) and
`debug_engine` stand behind it, and one conformance suite holds them all to it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

_GIB: Final = 1 << 30

Vectors = NDArray[np.float32]
"""A C-contiguous float32 array of shape (texts, dimensions)."""

OnPhase = Callable[[str, float | None], None]
"""Called with a phase of loading and the share of the whole loading that is done (0…1, None: unknown)."""


class EngineError(Exception):
    """Something went wrong inside an engine; the batch at hand has no vectors."""


class EngineOutOfMemory(EngineError):
    """The batch did not fit the device's memory; a smaller one may."""


class EngineBroken(EngineError):
    """The engine can never compute again in this process (a lost device, a poisoned CUDA context)."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What is loaded, as clients see it in `stats` and `GET /v1/models`.

    `dimensions` is the model's native width; `max_input_tokens` counts special tokens. `matryoshka` says
    that the model was trained for shorter vectors: to those in `matryoshka_dimensions`, or to any if that
    is empty.
    """

    name: str
    dimensions: int
    max_input_tokens: int
    device: str
    backend: str
    dtype: str
    matryoshka: bool = False
    matryoshka_dimensions: tuple[int, ...] = ()
    reason: str | None = None

    def allows(self, dimensions: int) -> bool:
        """Tell whether vectors of `dimensions` numbers mean anything here (protocol.md section 5)."""
        if dimensions == self.dimensions:
            return True
        if not self.matryoshka or not 0 < dimensions < self.dimensions:
            return False
        return not self.matryoshka_dimensions or dimensions in self.matryoshka_dimensions

    def allowed_dimensions(self) -> str:
        """Return the allowed dimensions in words, for the text of a refusal."""
        if not self.matryoshka:
            return f"{self.dimensions} (the model was not trained for shorter vectors)"
        if self.matryoshka_dimensions:
            choices = sorted({*self.matryoshka_dimensions, self.dimensions})
            return ", ".join(str(choice) for choice in choices)
        return f"1 to {self.dimensions}"


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """One text as the model reads it: `ids` (special tokens included) and whether its end was cut off."""

    ids: NDArray[np.int64]
    truncated: bool

    def __len__(self) -> int:
        """Return the true length in tokens, never counting padding."""
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """The device's memory in bytes, and how busy it is in percent (None: the driver does not say)."""

    allocated_bytes: int
    cached_bytes: int
    max_allocated_bytes: int
    utilization_percent: float | None

    def as_stats(self) -> dict[str, float | None]:
        """Return GiB and percent under the names that clients know (protocol.md section 4, `stats`)."""
        return {
            "allocated": round(self.allocated_bytes / _GIB, 3),
            "cached": round(self.cached_bytes / _GIB, 3),
            "max_allocated": round(self.max_allocated_bytes / _GIB, 3),
            "utilization": self.utilization_percent,
        }


class Engine(Protocol):
    """Text to raw vectors. `tokenize` may be called from any thread, all else only from the owning one."""

    @property
    def info(self) -> ModelInfo:
        """What is loaded."""

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Return each text's tokens, cut to `info.max_input_tokens`; any Unicode text is accepted."""

    def forward(self, batch: Sequence[Tokens]) -> Vectors:
        """Return the pooled float32 vectors of a non-empty batch, in order, not yet normalised.

        A text's vector does not depend on what shares its batch (within 1e-5 of its length). Raises
        `EngineOutOfMemory` if a smaller batch may fit, `EngineBroken` if nothing ever will, and whatever the
        library raises on an input it cannot take.
        """

    def memory(self) -> DeviceMemory | None:
        """Return the device's memory, or None on a CPU."""

    def close(self) -> None:
        """Free the model."""


class Begun(Protocol):
    """A forward that is being computed."""

    @property
    def streams(self) -> int:
        """On how many streams."""

    def is_done(self) -> bool:
        """Tell whether `vectors` would return, or raise, at once."""

    def vectors(self) -> Vectors:
        """Return what `Engine.forward` would, or raise what it would; nothing is computed any more then."""


@runtime_checkable
class OverlappingEngine(Engine, Protocol):
    """An engine that computes several things side by side, each on a stream of its own.

    So the next batch can begin on one stream before the last one has ended on another.
    """

    @property
    def streams(self) -> int:
        """How many parts of batches are computed at once."""

    def begin(self, batch: Sequence[Tokens], streams: int, on_part: Callable[[], None]) -> Begun:
        """Begin to compute a non-empty batch on at most `streams` streams.

        `on_part` is called, on any thread, whenever one of those streams has no more to do for the batch:
        `streams` times in all, however it ends.
        """
