"""Without padding the vectors are the same, and a device on which they are not keeps the padding."""

import logging
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

from servers.embedding import unpadded as unpadding
from servers.embedding.engine import Tokens
from servers.embedding.models import find_model
from servers.embedding.torch_engine import load_torch_engine
from servers.embedding.unpadded import NotUnpaddable, UnpaddedTransformer, pack

CPU = torch.device("cpu")
SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": 128,
}


def tokens(*lengths: int) -> list[Tokens]:
    """Texts of so many tokens, always the same."""
    chance = np.random.default_rng(1)
    return [Tokens(chance.integers(5, 100, size=length), truncated=False) for length in lengths]


def padded(model: Any, batch: list[Tokens], pad_id: int) -> Tensor:
    """Token vectors of the batch as the model computes them by itself, zero beyond each text."""
    longest = max(map(len, batch))
    ids = torch.full((len(batch), longest), pad_id)
    mask = torch.zeros(len(batch), longest, dtype=torch.int64)
    for row, text in enumerate(batch):
        ids[row, : len(text)] = torch.from_numpy(text.ids)
        mask[row, : len(text)] = 1
    hidden: Tensor = model(input_ids=ids, attention_mask=mask).last_hidden_state
    return hidden * mask[:, :, None]


def test_a_packed_batch_says_where_each_text_lies() -> None:
    """Ids one behind the other, positions from the first one, bounds, and the places of a padded batch."""
    packed = pack(tokens(2, 3, 1), first_position=7)
    assert packed.ids.tolist() == [each for text in tokens(2, 3, 1) for each in text.ids.tolist()]
    assert packed.positions.tolist() == [7, 8, 7, 8, 9, 7]
    assert packed.bounds.tolist() == [0, 2, 5, 6]
    assert packed.places.tolist() == [0, 1, 3, 4, 5, 6]
    assert packed.longest == 3


@pytest.mark.parametrize(
    "model",
    [
        BertModel(BertConfig(max_position_embeddings=16, **SHAPE)),
        RobertaModel(RobertaConfig(max_position_embeddings=20, pad_token_id=1, **SHAPE)),
    ],
    ids=["bert", "roberta"],
)
@torch.inference_mode()
def test_every_token_gets_the_vector_that_it_has_with_padding(model: Any) -> None:
    """Also where all texts together are longer than the model's positions, which count within a text."""
    model.eval()
    batch = tokens(1, 16, 5, 9, 2)
    expected = padded(model, batch, 1)
    found = UnpaddedTransformer(SimpleNamespace(auto_model=model), CPU)(batch)
    torch.testing.assert_close(found["token_embeddings"], expected, atol=1e-5, rtol=0)
    assert found["attention_mask"].sum(dim=1).tolist() == [1, 16, 5, 9, 2]


@torch.inference_mode()
def test_undone_the_model_pads_as_before() -> None:
    """The attention that it had is back."""
    model = BertModel(BertConfig(max_position_embeddings=16, **SHAPE)).eval()
    batch = tokens(3, 7)
    before = padded(model, batch, 0)
    UnpaddedTransformer(SimpleNamespace(auto_model=model), CPU).undo()
    assert padded(model, batch, 0).equal(before)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (SimpleNamespace(model_type="mpnet"), "mpnet"),
        (SimpleNamespace(model_type="bert", is_decoder=True), "look back"),
    ],
)
def test_models_that_are_not_known_to_work_are_refused(config: Any, said: str) -> None:
    """A kind with other positions, and one whose tokens look back only."""
    model = SimpleNamespace(auto_model=SimpleNamespace(config=config))
    with pytest.raises(NotUnpaddable, match=said):
        UnpaddedTransformer(model, CPU)


@pytest.mark.model
def test_the_real_model_gives_the_same_vectors() -> None:
    """Every vector of a mixed batch, through the engine, within 1e-5."""
    engine = load_torch_engine(find_model("all-MiniLM-L6-v2"), "cpu", None)
    batch = tokens(1, 40, 256, 3, 90)
    expected = engine.forward(batch)
    engine.leave_out_padding()
    assert engine._unpadded is not None
    np.testing.assert_allclose(engine.forward(batch), expected, atol=1e-5)


@pytest.mark.model
@pytest.mark.parametrize("fault", ["wrong", "missing"])
def test_a_kernel_that_fails_its_trial_is_not_used(
    fault: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Texts that see each other, or no kernel: padding stays, the log says why, vectors are right."""

    def misled(*rows: Any) -> Tensor:
        if fault == "missing":
            raise RuntimeError("no kernel image is available")
        query, key, value, bounds, *rest = rows
        return right(query, key, value, bounds[[0, -1]], *rest)

    right = unpadding._one_by_one
    engine = load_torch_engine(find_model("all-MiniLM-L6-v2"), "cpu", None)
    batch = tokens(4, 30)
    expected = engine.forward(batch)
    monkeypatch.setattr(unpadding, "_one_by_one", misled)
    with caplog.at_level(logging.WARNING):
        engine.leave_out_padding()
    assert engine._unpadded is None
    assert ("no kernel image" if fault == "missing" else "least cosine") in caplog.text
    np.testing.assert_array_equal(engine.forward(batch), expected)
