"""The nearest of very many memories that are almost alike: told apart, or within their bound."""

import numpy as np
import pytest

from servers.memory import nearest
from servers.memory.codes import Mode
from servers.memory.index import VectorIndex
from servers.memory.nearest import INDISTINGUISHABLE, MOST_TESTED
from servers.memory.ranking import rounding
from servers.memory.store.base import columns_of
from tests.servers.memory.doubles import make_memory

DIMENSIONS = 64
NOW_MS = 1_000_000


@pytest.fixture(params=["few", "many"], autouse=True)
def _size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways: by the vectors themselves, as among few memories, and by codes, as among many."""
    monkeypatch.setattr(nearest, "FEW_PAIRS", 10**9 if request.param == "few" else 0)


def crowd(rows: int, spread: float, seed: int) -> np.ndarray:
    """Vectors around one direction, each a little off it."""
    rng = np.random.default_rng(seed)
    middle = rng.normal(size=DIMENSIONS)
    vectors = middle / np.linalg.norm(middle) + spread * rng.normal(size=(rows, DIMENSIONS))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def index_of(vectors: np.ndarray, mode: Mode) -> VectorIndex:
    """An index that shows these vectors as the memories m0, m1, and so on."""
    index = VectorIndex(DIMENSIONS, mode=mode, block_rows=1024)
    memories = [
        make_memory(f"m{place}", vector=vector, seq=place + 1) for place, vector in enumerate(vectors)
    ]
    index.append(columns_of(memories, DIMENSIONS))
    return index


@pytest.mark.parametrize("mode", ["int8", "float16", "float32"])
@pytest.mark.parametrize("spread", [1e-7, 1e-5, 1e-3, 1e-2])
@pytest.mark.parametrize("seed", range(3))
def test_the_nearest_of_a_crowd_is_as_near_as_any(mode: Mode, spread: float, seed: int) -> None:
    """More near ties than are tested one by one: the answer's cosine is the highest, up to its bound."""
    vectors = crowd(10 * MOST_TESTED, spread, seed)
    asked = crowd(5, spread, seed)[-3:]
    asked = np.concatenate([asked, crowd(3, spread, seed + 100)])
    index = index_of(vectors, mode)
    found = index.nearest(asked, ["default"] * len(asked), NOW_MS)
    index.close()
    truth = np.clip(asked.astype(np.float64) @ vectors.astype(np.float64).T, -1.0, 1.0)
    for neighbour, cosines in zip(found, truth, strict=True):
        assert neighbour is not None
        own = cosines[int(neighbour.id.removeprefix("m"))]
        allowed = max(2 * rounding(DIMENSIONS), INDISTINGUISHABLE)
        assert neighbour.similarity == pytest.approx(own, abs=1e-6)
        assert cosines.max() - own <= allowed


@pytest.mark.parametrize("mode", ["int8", "float16", "float32"])
def test_identical_memories_are_all_equally_near(mode: Mode) -> None:
    """A hundred times the same memory: its surprise is nothing, whichever of them is named."""
    vectors = np.repeat(crowd(1, 0.1, 7), 10 * MOST_TESTED, axis=0)
    index = index_of(vectors, mode)
    (found,) = index.nearest(vectors[:1], ["default"], NOW_MS)
    index.close()
    assert found is not None
    assert found.similarity == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("mode", ["int8", "float16", "float32"])
def test_hidden_memories_of_a_crowd_do_not_count(mode: Mode) -> None:
    """What was deleted is not the nearest, even where the codes cannot tell it from the others."""
    vectors = crowd(10 * MOST_TESTED, 1e-5, 3)
    index = index_of(vectors, mode)
    index.remove(list(range(2, len(vectors) + 1)))
    (found,) = index.nearest(vectors[5:6], ["default"], NOW_MS)
    index.close()
    assert found is not None
    assert found.id == "m0"
