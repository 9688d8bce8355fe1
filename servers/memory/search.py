"""What a search of the memories asks and what it finds, whoever executes it.

Pure data; `servers.memory.index` executes it.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from servers.memory.scoring import DAY_MS, HALF_LIFE_DAYS, RankWeights

Sort = Literal["significance", "recent", "relevance"]
"""What comes first, then second and third; each from high to low, only the id ascending.

significance: significance, timestamp, id. recent: timestamp, significance, id. relevance: score, then as
significance does.
"""

Match = Literal["meaning", "words", "both"]
"""What a query is compared by: vectors, the words themselves, or both, fused by rank."""


@dataclass(frozen=True, slots=True)
class Search:
    """One search in one namespace as of `now_ms` (what has expired by then is hidden).

    `query` is a float32 vector of any length above zero, needed for the sort "relevance" and for
    similarities. `allowed` restricts it to these seqs (int64, None: all). `min_significance` is inclusive.
    """

    namespace: str
    now_ms: int
    count: int
    offset: int = 0
    min_significance: float = 0.0
    sort: Sort = "significance"
    query: npt.NDArray[np.float32] | None = None
    allowed: npt.NDArray[np.int64] | None = None
    weights: RankWeights = field(default_factory=RankWeights)
    half_life_ms: float = HALF_LIFE_DAYS * DAY_MS

    def __post_init__(self) -> None:
        if self.sort == "relevance" and self.query is None:
            raise ValueError("relevance is relevance to a query")


@dataclass(frozen=True, slots=True)
class Hit:
    """One memory found: its seq, what it was ordered by, and why.

    `similarity` is the cosine (-1…1) to the query, None without one; `score` is what the sort ranked first.
    """

    seq: int
    score: float
    similarity: float | None
    significance: float
    recency: float


@dataclass(frozen=True, slots=True)
class Found:
    """The hits of one page, in order; `total` counts all matches, `hidden` those below the significance."""

    hits: list[Hit]
    total: int
    hidden: int


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The known memory that is most similar to a new vector."""

    similarity: float
    id: str
