"""How a text stands against its context: surprise, significance, diversity, ranked predictions (`process`).

Pure numpy. It decides the formulas of protocol.md section 5's `process`, from the terms of section 4.
Vectors are unit length, the text's first; it knows neither where they come from nor how the reply is
written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from servers import scoring_terms
from servers.embedding.engine import Vectors

SUGGESTED_SIGNIFICANCE: Final = 0.7
SUGGESTED_SURPRISE: Final = 0.5
MOST_SUGGESTIONS: Final = 5
_DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class Prediction:
    """One entry of the context as seen from the text; `similarity` is the cosine to the text, -1…1."""

    text: str
    significance: float
    surprise: float
    similarity: float


@dataclass(frozen=True, slots=True)
class Assessment:
    """What `process` says of a text; all numbers in 0…1, predictions by falling similarity, ties by place."""

    significance: float
    surprise: float
    diversity: float
    predictions: tuple[Prediction, ...]

    def suggestions(self) -> list[str]:
        """Return the texts of at most five predictions that are significant (≥ 0.7) or surprising (≥ 0.5)."""
        worthy = [
            prediction.text
            for prediction in self.predictions
            if prediction.significance >= SUGGESTED_SIGNIFICANCE or prediction.surprise >= SUGGESTED_SURPRISE
        ]
        return worthy[:MOST_SUGGESTIONS]


def assess(texts: Sequence[str], vectors: Vectors) -> Assessment:
    """Return how `texts[0]` stands against the rest; `vectors` (texts, dimensions) are unit length.

    A text's surprise is 1 - its highest cosine similarity to any other text of the request, clamped to 0…1;
    alone it is 1. Significance weighs it with information as everywhere (protocol.md section 4). Diversity
    is the mean of 1 - cosine over all pairs, clamped to 0…1; alone it is 0.
    """
    similarities = np.clip(vectors @ vectors.T, -1.0, 1.0).astype(np.float64)
    surprises = _surprises(similarities)
    significances = [
        scoring_terms.significance(surprise, scoring_terms.information(text))
        for text, surprise in zip(texts, surprises, strict=True)
    ]
    predictions = [
        Prediction(
            text=texts[place],
            significance=_rounded(significances[place]),
            surprise=_rounded(surprises[place]),
            similarity=_rounded(float(similarities[0, place])),
        )
        for place in range(1, len(texts))
    ]
    predictions.sort(key=lambda prediction: -prediction.similarity)
    return Assessment(
        _rounded(significances[0]), _rounded(surprises[0]), _diversity(similarities), tuple(predictions)
    )


def _surprises(similarities: NDArray[np.float64]) -> list[float]:
    if len(similarities) == 1:
        return [scoring_terms.surprise(None)]
    others = similarities - 4.0 * np.eye(len(similarities))  # below any cosine: nothing is compared to itself
    return [scoring_terms.surprise(float(highest)) for highest in others.max(axis=1)]


def _diversity(similarities: NDArray[np.float64]) -> float:
    count = len(similarities)
    if count == 1:
        return 0.0
    mean = (similarities.sum() - np.trace(similarities)) / (count * (count - 1))
    return _rounded(min(1.0, max(0.0, 1.0 - float(mean))))


def _rounded(value: float) -> float:
    return round(value, _DIGITS)
