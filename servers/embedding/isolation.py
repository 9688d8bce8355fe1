"""One bad text fails alone: a batch that raises is halved until what is to blame is found.

It decides what a failing forward means for each text of its batch. It does not know queues or requests.
Used on the model thread only.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from servers.embedding.engine import (
    Begun,
    Engine,
    EngineBroken,
    EngineError,
    EngineOutOfMemory,
    Tokens,
    Vectors,
)


class NotFinite(EngineError):
    """The model gave NaN or infinity for a text."""

    def __str__(self) -> str:
        """Say what came out."""
        return "the model gave numbers that are not finite"


@dataclass(slots=True)
class Computed:
    """A batch's raw vectors by place; the places in `failures` hold nothing of use.

    `ran_out_of_memory` says that a part of the batch did not fit the device at first; `bisections` counts
    how often a part of it was computed again in halves.
    """

    vectors: Vectors
    failures: dict[int, Exception] = field(default_factory=dict)
    ran_out_of_memory: bool = False
    bisections: int = 0


def forward_isolated(engine: Engine, batch: Sequence[Tokens], begun: Begun | None = None) -> Computed:
    """Return the raw vectors of a non-empty `batch`, and the failure of each text that has none.

    `begun` is the batch's forward if it is under way already. A batch that raises is computed again in
    halves. Raises only `EngineBroken`, which no halving helps.
    """
    computed = Computed(np.zeros((len(batch), engine.info.dimensions), dtype=np.float32))
    _compute(engine, batch, range(len(batch)), computed, begun)
    return computed


def _compute(
    engine: Engine, batch: Sequence[Tokens], places: range, computed: Computed, begun: Begun | None = None
) -> None:
    try:
        vectors = begun.vectors() if begun else engine.forward([batch[place] for place in places])
    except EngineBroken:
        raise
    except Exception as error:
        # Whatever the library raises is a fact about these texts until a half of them proves otherwise.
        computed.ran_out_of_memory |= isinstance(error, EngineOutOfMemory)
        _halve(engine, batch, places, computed, error)
        return
    computed.vectors[places.start : places.stop] = vectors
    for row in np.flatnonzero(~np.isfinite(vectors).all(axis=1)):
        computed.failures[places.start + int(row)] = NotFinite()


def _halve(
    engine: Engine, batch: Sequence[Tokens], places: range, computed: Computed, error: Exception
) -> None:
    if len(places) == 1:
        computed.failures[places.start] = error
        return
    computed.bisections += 1
    middle = len(places) // 2
    _compute(engine, batch, places[:middle], computed)
    _compute(engine, batch, places[middle:], computed)
