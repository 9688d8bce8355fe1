"""`process` scores by the published formulas, whatever the vectors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers import scoring_terms
from servers.embedding.engine import Vectors
from servers.embedding.vectors import normalise
from servers.inference.scoring import MOST_SUGGESTIONS, assess


def unit(*rows: list[float]) -> Vectors:
    """Unit vectors in the directions of `rows`."""
    return normalise(np.array(rows, dtype=np.float32))


def test_a_text_alone_is_fully_surprising_and_not_diverse() -> None:
    """Without context there is nothing to compare with and nothing to predict."""
    assessment = assess(["harbour storm"], unit([1, 0]))
    assert assessment.surprise == 1.0
    assert assessment.diversity == 0.0
    expected = scoring_terms.significance(1.0, scoring_terms.information("harbour storm"))
    assert assessment.significance == pytest.approx(expected, abs=1e-6)
    assert assessment.predictions == ()
    assert assessment.suggestions() == []


def test_context_is_ranked_by_similarity_and_scored_against_everything_else() -> None:
    """A copy of the text ranks first without surprise; what is orthogonal ranks last with full surprise."""
    texts = ["storm", "orthogonal", "copy", "slanted"]
    assessment = assess(texts, unit([1, 0, 0], [0, 0, 1], [1, 0, 0], [1, 1, 0]))
    ranked = [(each.text, each.similarity, each.surprise) for each in assessment.predictions]
    assert [text for text, _, _ in ranked] == ["copy", "slanted", "orthogonal"]
    assert [similarity for _, similarity, _ in ranked] == pytest.approx([1.0, 0.707107, 0.0], abs=1e-6)
    assert [surprise for _, _, surprise in ranked] == pytest.approx([0.0, 1 - 0.707107, 1.0], abs=1e-5)
    assert assessment.surprise == pytest.approx(0.0, abs=1e-6)


def test_diversity_is_the_mean_distance_of_all_pairs() -> None:
    """Three mutually orthogonal texts have diversity 1, three equal ones 0."""
    texts = ["a", "b", "c"]
    assert assess(texts, unit([1, 0, 0], [0, 1, 0], [0, 0, 1])).diversity == pytest.approx(1.0)
    assert assess(texts, unit([1, 0], [1, 0], [1, 0])).diversity == pytest.approx(0.0, abs=1e-6)


def test_equally_similar_entries_keep_their_order() -> None:
    """Ties are broken by the place in the context."""
    assessment = assess(["t", "first", "second"], unit([1, 0, 0], [0, 1, 0], [0, 0, 1]))
    assert [each.text for each in assessment.predictions] == ["first", "second"]


def test_suggestions_are_the_first_five_worthy_predictions() -> None:
    """Only significant or surprising entries are suggested, best first, five at most."""
    texts = ["t", "copy of t", *(f"new {place}" for place in range(8))]
    directions = np.eye(9, dtype=np.float32)
    vectors = np.concatenate([directions[:1], directions])
    suggestions = assess(texts, vectors).suggestions()
    assert suggestions == [f"new {place}" for place in range(MOST_SUGGESTIONS)]


@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_every_number_is_in_range_and_the_ranking_falls(count: int, seed: int) -> None:
    """Scores lie in 0…1, similarities in -1…1, and predictions are sorted, for any vectors."""
    vectors = normalise(np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32))
    assessment = assess([f"text {place}" for place in range(count)], vectors)
    scores = [assessment.significance, assessment.surprise, assessment.diversity]
    for prediction in assessment.predictions:
        scores += [prediction.significance, prediction.surprise]
        assert -1.0 <= prediction.similarity <= 1.0
    assert all(0.0 <= score <= 1.0 for score in scores)
    similarities = [prediction.similarity for prediction in assessment.predictions]
    assert similarities == sorted(similarities, reverse=True)
    assert len(similarities) == count - 1
