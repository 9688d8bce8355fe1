"""Every engine keeps the promises of `Engine`: one suite, run against each of them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from servers.embedding.debug_engine import DebugEngine
from servers.embedding.engine import Engine, Vectors
from servers.embedding.graph_loading import load_graph_engine
from servers.embedding.measuring import probe_vectors
from servers.embedding.selection import Wanted
from servers.embedding.variants import CPU_VARIANTS, REFERENCE, Variant
from servers.embedding.vectors import normalise

BATCH_DELTA = {
    Variant("torch", "bfloat16"): 1e-2,
    Variant("openvino", "int8"): 1e-2,
    Variant("onnx", "int8"): 1e-1,  # one scale per batch: why it is refused by its gate
}
"""How far a unit vector may move with its batch; 1e-5 where nothing else is said, as for all of float32."""

LEAST_COSINE = {
    Variant("torch", "bfloat16"): 0.999,
    Variant("openvino", "bfloat16"): 0.9999,
    Variant("openvino", "int8"): 0.99,
    Variant("onnx", "int8"): 0.95,
}
"""To the reference, on the probe texts; 0.999999 where nothing else is said."""

TEXTS = [
    "a",
    "The harbour was quiet before the storm came in.",
    "Der Hafen war still, bevor der Sturm kam.",
    "港は静かだった。",
    "😀 emoji \u0301 and \u200d joiners",
    "tabs\tand\nnewlines\r\n  and   spaces",
    "x" * 500,
    "numbers 3.14159 and $symbols% & <tags>",
    "word " * 120,
    "long text that must be cut " * 200,
]


WORDS = [
    "harbour",
    "quiet",
    "storm",
    "river",
    "stone",
    "light",
    "engine",
    "memory",
    "tea",
    "the",
    "lazy",
    "dog",
]


@pytest.fixture(
    scope="module",
    params=["debug", *(pytest.param(each, marks=pytest.mark.model) for each in CPU_VARIANTS)],
    ids=str,
)
def variant(request: pytest.FixtureRequest) -> Variant | str:
    """Each engine in each number format, and the engine without a model."""
    wanted: Variant | str = request.param
    return wanted


@pytest.fixture(scope="module")
def engine(variant: Variant | str, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """The engine of `variant`, loaded once for the module."""
    if isinstance(variant, str):
        yield DebugEngine()
        return
    loaded = load(variant, request.getfixturevalue("exported"))
    yield loaded
    loaded.close()


def load(variant: Variant, exported: Wanted) -> Engine:
    """The engine of `variant` as the servers load it."""
    if variant.backend != "torch":
        return load_graph_engine(exported, variant)
    from servers.embedding.torch_engine import load_torch_engine

    return load_torch_engine(exported.files, "cpu", exported.threads, dtype=variant.dtype)


def embedded(engine: Engine, texts: list[str]) -> Vectors:
    """Unit vectors of `texts` from one forward."""
    return normalise(engine.forward(engine.tokenize(texts)))


def test_vectors_have_the_announced_shape_and_type(engine: Engine) -> None:
    """One C-contiguous float32 row of the announced width per text, all finite."""
    vectors = engine.forward(engine.tokenize(TEXTS))
    assert vectors.shape == (len(TEXTS), engine.info.dimensions)
    assert vectors.dtype == np.float32
    assert vectors.flags.c_contiguous
    assert np.isfinite(vectors).all()


def test_the_model_says_what_it_is(engine: Engine) -> None:
    """Name, device and limits are filled in and make sense."""
    info = engine.info
    assert info.name
    assert info.device == "cpu"
    assert info.max_input_tokens == 256
    assert info.dimensions == 384
    assert info.allows(384)
    assert not info.allows(383)


@pytest.mark.parametrize("order", [1, -1])
def test_a_text_s_vector_does_not_depend_on_its_batch(
    engine: Engine, variant: Variant | str, order: int
) -> None:
    """Alone or among texts of any length, in any order, each text gives the same vector."""
    together = embedded(engine, TEXTS[::order])[::order]
    alone = np.concatenate([embedded(engine, [text]) for text in TEXTS])
    allowed = BATCH_DELTA.get(variant, 1e-5) if isinstance(variant, Variant) else 1e-5
    np.testing.assert_allclose(together, alone, atol=allowed)


def test_a_text_s_vector_does_not_depend_on_how_far_it_is_padded(
    engine: Engine, variant: Variant | str
) -> None:
    """Each text alone and in one part with longer ones; those of 33 to 96 tokens are the touchy ones."""
    rng = np.random.default_rng(11)
    words = [" ".join(rng.choice(WORDS, size=count)) for count in (*range(5, 70, 4), *range(70, 110, 10))]
    longer = [f"{text} {' '.join(rng.choice(WORDS, size=8))}" for text in words]
    allowed = BATCH_DELTA.get(variant, 1e-5) if isinstance(variant, Variant) else 1e-5
    for text, other in zip(words, longer, strict=True):
        # However many cores share them out, the shortest is in one part with a longer one.
        together = embedded(engine, [text, other, other, other])
        np.testing.assert_allclose(together[:1], embedded(engine, [text]), atol=allowed)


@pytest.fixture(scope="module")
def reference(exported: Wanted) -> Vectors:
    """The probe texts' vectors from torch in float32."""
    loaded = load(REFERENCE, exported)
    vectors = probe_vectors(loaded)
    loaded.close()
    return vectors


@pytest.mark.model
def test_vectors_are_as_near_to_the_reference_as_the_number_format_allows(
    engine: Engine, variant: Variant | str, request: pytest.FixtureRequest
) -> None:
    """Every variant of a real model computes that model, to its own precision."""
    if isinstance(variant, str):
        assert engine.info.backend == "debug"
        return
    assert (engine.info.backend, engine.info.dtype) == (variant.backend, variant.dtype)
    cosines = (probe_vectors(engine) * request.getfixturevalue("reference")).sum(axis=1)
    assert cosines.min() >= LEAST_COSINE.get(variant, 0.999999)


def test_tokens_have_true_lengths_and_tell_of_cuts(engine: Engine) -> None:
    """Short texts keep their own length, long ones have exactly the limit and are flagged."""
    short, long = engine.tokenize(["three little words", "many little words " * 400])
    assert len(short) == 5
    assert not short.truncated
    assert len(long) == engine.info.max_input_tokens
    assert long.truncated


def test_what_lies_behind_the_cut_does_not_matter(engine: Engine) -> None:
    """Two texts that differ only after the limit are the same tokens, and so the same vector."""
    start = "the same long beginning " * 120
    first, second = embedded(engine, [start + "ends in joy", start + "ends in sorrow"])
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_different_texts_have_different_vectors(engine: Engine) -> None:
    """No two of the texts lie on top of each other."""
    vectors = embedded(engine, TEXTS)
    similarities = vectors @ vectors.T - 2 * np.eye(len(TEXTS), dtype=np.float32)
    assert similarities.max() < 0.999


def test_texts_that_share_words_lie_nearer(engine: Engine) -> None:
    """A rephrasing is nearer than something unrelated."""
    base, near, far = embedded(
        engine, ["the cat sat on the mat", "the cat lay on the mat", "quarterly revenue exceeded forecasts"]
    )
    assert float(base @ near) > float(base @ far)


def test_an_empty_text_is_embedded_like_any_other(engine: Engine) -> None:
    """Refusing empty texts is the server's business, not the engine's."""
    assert np.isfinite(embedded(engine, ["", "   "])).all()


def test_tokenising_from_several_threads_at_once_gives_the_same_tokens(engine: Engine) -> None:
    """`tokenize` may be called from any thread while others do the same."""
    expected = [tokens.ids.tolist() for tokens in engine.tokenize(TEXTS)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: engine.tokenize(TEXTS), range(16)))
    for result in results:
        assert [tokens.ids.tolist() for tokens in result] == expected


def test_a_cpu_engine_reports_no_device_memory(engine: Engine) -> None:
    """`gpu` is left out of the stats of a server without one."""
    assert engine.memory() is None
