"""Only models that are a transformer and a pooling have a graph; all others say why they have none."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from servers.embedding.models import find_model

pytestmark = pytest.mark.model

FILES = find_model("all-MiniLM-L6-v2")


@pytest.fixture(scope="module")
def model() -> Any:
    """The default model as its library loads it."""
    from servers.embedding.torch_engine import load_model, resolve_device

    return load_model(FILES, resolve_device("cpu"))


def with_dense(model: Any) -> Any:
    """The model with a third module."""
    from sentence_transformers.sentence_transformer.modules import Dense

    return altered(model, [*list(model.children())[:2], Dense(384, 16)])


def with_two_poolings(model: Any) -> Any:
    """The model with mean and max side by side."""
    from sentence_transformers.sentence_transformer.modules import Pooling

    return altered(model, [next(iter(model.children())), Pooling(384, ("mean", "max"))])


def without_pooling(model: Any) -> Any:
    """The transformer alone."""
    return altered(model, list(model.children())[:1])


def altered(model: Any, modules: list[Any]) -> Any:
    """What the exporter sees of `model`, with other modules."""
    return SimpleNamespace(
        children=lambda: iter(modules),
        tokenizer=model.tokenizer,
        max_seq_length=model.max_seq_length,
        prompts={},
        default_prompt_name=None,
    )


def test_the_card_is_what_the_library_does(model: Any) -> None:
    """Width, limit, padding and pooling are read from the loaded model, not guessed from its files."""
    from servers.embedding.export import read_card

    card = read_card(model, FILES)
    assert (card.dimensions, card.max_input_tokens, card.pad_id) == (384, 256, 0)
    assert (card.pooling, card.prompt, card.matryoshka) == ("mean", "", False)


@pytest.mark.parametrize(
    ("alter", "says"),
    [
        (with_dense, r"Transformer \+ Pooling \+ Dense"),
        (with_two_poolings, "pooling mode"),
        (without_pooling, "modules are Transformer,"),
    ],
)
def test_other_models_are_refused_with_the_reason(alter: Callable[[Any], Any], says: str, model: Any) -> None:
    """torch serves them; the reason ends up in the log and in the measurements."""
    from servers.embedding.export import NotExportable, read_card

    with pytest.raises(NotExportable, match=says):
        read_card(alter(model), FILES)
