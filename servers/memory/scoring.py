"""How much a memory matters and where it ranks (protocol.md section 4, "Scoring").

Pure. It turns similarity, content and age into significance and rank, with weights that config.yaml may set.
It does not know where memories live or how similarity was found; `servers.scoring_terms` owns the terms that
the inference server shares.
"""

from dataclasses import dataclass
from typing import Final

from servers.scoring_terms import INFORMATION_WEIGHT, SURPRISE_WEIGHT

HALF_LIFE_DAYS: Final = 30.0
"""Age in days at which recency has halved; exponential decay as in Generative Agents (arXiv 2304.03442)."""

DAY_MS: Final = 86_400_000
"""Milliseconds in a day."""


@dataclass(frozen=True, slots=True)
class SignificanceWeights:
    """The shares that make up significance; each is at least 0, and the result is clamped to 0…1."""

    surprise: float = SURPRISE_WEIGHT
    information: float = INFORMATION_WEIGHT


@dataclass(frozen=True, slots=True)
class RankWeights:
    """The shares that make up the score of a memory for a query; each is at least 0."""

    relevance: float = 0.6
    significance: float = 0.25
    recency: float = 0.15


@dataclass(frozen=True, slots=True)
class Rules:
    """The numbers that new memories are scored by.

    A memory is active from `significance_threshold` (0…1) on, and a duplicate of its nearest neighbour from
    the cosine `duplicate_similarity` on.
    """

    weights: SignificanceWeights
    significance_threshold: float
    duplicate_similarity: float


def weigh_significance(surprise: float, information: float, weights: SignificanceWeights) -> float:
    """Return `weights` · (surprise, information), clamped to 0…1; both terms lie in 0…1."""
    return min(1.0, max(0.0, weights.surprise * surprise + weights.information * information))


def recency(age_ms: float, half_life_ms: float) -> float:
    """Return 2^(-age / half life), in 0…1: 1.0 for what is new or in the future, 0.5 after one half life.

    It only ranks; nothing is ever deleted for being old. `half_life_ms` must be above 0.
    """
    return float(2.0 ** (-max(0.0, age_ms) / half_life_ms))


def rank(relevance: float, significance: float, recency: float, weights: RankWeights) -> float:
    """Return the score of a memory for a query: weights · (relevance -1…1, significance 0…1, recency 0…1)."""
    return weights.relevance * relevance + weights.significance * significance + weights.recency * recency
