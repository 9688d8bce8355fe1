"""One bad text fails alone, wherever it stands; only a lost engine fails everybody."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.embedding.engine import EngineBroken
from servers.embedding.isolation import NotFinite, forward_isolated
from tests.servers.embedding.doubles import ScriptedEngine


@given(st.lists(st.sampled_from(["good", "poison", "nan"]), min_size=1, max_size=24))
def test_exactly_the_bad_texts_fail(kinds: list[str]) -> None:
    """Every bad text has its failure, and every good one the vector it has alone."""
    engine = ScriptedEngine()
    texts = [f"{kind} text {place}" for place, kind in enumerate(kinds)]
    tokens = engine.tokenize(texts)
    computed = forward_isolated(engine, tokens)
    assert set(computed.failures) == {place for place, kind in enumerate(kinds) if kind != "good"}
    for place, kind in enumerate(kinds):
        if kind == "good":
            alone = engine.forward([tokens[place]])[0]
            np.testing.assert_allclose(computed.vectors[place], alone, atol=1e-6)


def test_failures_keep_the_engine_s_own_reason(engine: ScriptedEngine) -> None:
    """A text that raised carries that exception, a text that gave NaN says so."""
    computed = forward_isolated(engine, engine.tokenize(["poison", "nan", "fine"]))
    assert isinstance(computed.failures[0], ValueError)
    assert isinstance(computed.failures[1], NotFinite)
    assert "not finite" in str(computed.failures[1])


def test_running_out_of_memory_is_mended_by_halving_and_reported(engine: ScriptedEngine) -> None:
    """A batch too big for the device is computed in parts, and the caller learns of it."""
    computed = forward_isolated(engine, engine.tokenize(["huge a", "b", "c", "d"]))
    assert not computed.failures
    assert computed.ran_out_of_memory


def test_a_lost_engine_is_not_bisected(engine: ScriptedEngine) -> None:
    """When the device is gone, one attempt is enough to know it."""
    with pytest.raises(EngineBroken):
        forward_isolated(engine, engine.tokenize(["broken", "b", "c", "d"]))
    assert len(engine.batches) == 1
