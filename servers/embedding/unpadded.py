"""A batch as one row of tokens without padding, for transformers whose attention can be told where texts end.

It decides which models can be computed that way and whether the result can be trusted on this device: both
ways are compared on probe batches before the first request. Every position but those of real tokens then
costs nothing, however different the lengths of a batch are. It does not pool; the engine's other modules do.

The attention is `torch.nn.attention.varlen` (FlashAttention-2, arXiv 2307.08691), which runs on CUDA in half
precision; elsewhere the texts attend one by one, which serves the comparison, not the speed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from servers.embedding.engine import Tokens, Vectors

log = logging.getLogger(__name__)

NAME: Final = "lucid_unpadded"
"""What the attention is called in transformers."""
LEAST_COSINE: Final = 0.9999
"""Between vectors with and without padding: half precision keeps to it, a wrong kernel does not."""
PROBE_LENGTHS: Final = ((1,), (3, 17, 2), (64, 1, 33, 128, 5, 7, 16, 64))
"""Tokens of the probe texts, as far as the model takes so many; uneven, so that seeing another one shows."""

_FIRST_POSITIONS: Final[dict[str, Callable[[Any], int]]] = {
    "bert": lambda config: 0,
    # fairseq's numbering: positions begin after that of the padding token.
    "roberta": lambda config: int(config.pad_token_id) + 1,
    "xlm-roberta": lambda config: int(config.pad_token_id) + 1,
    "camembert": lambda config: int(config.pad_token_id) + 1,
}


class NotUnpaddable(Exception):
    """This model cannot be computed without padding; the text says why."""


@dataclass(frozen=True, slots=True)
class Packed:
    """The texts of a batch, one behind the other: `ids` and `positions` int64 (tokens,).

    Text i takes the tokens from `bounds[i]` to `bounds[i + 1]` (int32); `places` (int64, one per token) are
    where they lie in a batch padded to `longest` that is read row by row.
    """

    ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    bounds: NDArray[np.int32]
    places: NDArray[np.int64]
    longest: int


def pack(batch: Sequence[Tokens], first_position: int = 0) -> Packed:
    """Return a non-empty batch without padding; every text's positions count from `first_position`."""
    lengths = np.array([len(tokens) for tokens in batch], dtype=np.int64)
    longest = int(lengths.max())
    ends = np.cumsum(lengths)
    inside = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
    return Packed(
        ids=np.concatenate([tokens.ids for tokens in batch]).astype(np.int64, copy=False),
        positions=inside + first_position,
        bounds=np.concatenate([[0], ends]).astype(np.int32),
        places=np.repeat(np.arange(len(batch)) * longest, lengths) + inside,
        longest=longest,
    )


class UnpaddedTransformer:
    """The transformer module of a sentence-transformers model, computed without padding.

    Raises NotUnpaddable for a kind of model that is not known to work this way.
    """

    def __init__(self, transformer: Any, device: torch.device) -> None:
        """Change the attention of `transformer` (its `auto_model`) for good; `undo` brings it back."""
        model = getattr(transformer, "auto_model", None)
        config = getattr(model, "config", None)
        kind = getattr(config, "model_type", None)
        if model is None or config is None or kind not in _FIRST_POSITIONS:
            raise NotUnpaddable(f"models of the kind {kind!r} are not known to work without padding")
        if getattr(config, "is_decoder", False):
            raise NotUnpaddable("its tokens look back only")
        self._model = model
        self._device = device
        self._first_position = _FIRST_POSITIONS[kind](config)
        self._former = config._attn_implementation
        AttentionInterface.register(NAME, _attend)
        model.set_attn_implementation(NAME)

    def undo(self) -> None:
        """Give the model back the attention that it had."""
        self._model.set_attn_implementation(self._former)

    def __call__(self, batch: Sequence[Tokens]) -> dict[str, Tensor]:
        """Return `token_embeddings` (texts, longest, d), zero beyond a text, and their `attention_mask`."""
        packed = pack(batch, self._first_position)
        bounds = self._put(packed.bounds)
        hidden = self._model(
            input_ids=self._put(packed.ids)[None],
            position_ids=self._put(packed.positions)[None],
            attention_mask=None,
            cu_seq_lens_q=bounds,
            max_length_q=packed.longest,
            return_dict=True,
        ).last_hidden_state[0]
        places = self._put(packed.places)
        rows = len(batch) * packed.longest
        padded = hidden.new_zeros(rows, hidden.shape[1]).index_copy_(0, places, hidden)
        mask = torch.zeros(rows, dtype=torch.int64, device=self._device).index_fill_(0, places, 1)
        shape = (len(batch), packed.longest)
        return {"token_embeddings": padded.view(*shape, -1), "attention_mask": mask.view(shape)}

    def _put(self, values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(values).to(self._device, non_blocking=True)


def unpadded_if_right(
    transformer: Any,
    device: torch.device,
    max_tokens: int,
    forward: Callable[[UnpaddedTransformer | None, Sequence[Tokens]], Vectors],
) -> UnpaddedTransformer | None:
    """Return the transformer without padding if it gives the same vectors here, else None and why in the log.

    `forward` computes a batch with it, or with padding (None).
    """
    batches = _probes(max_tokens)
    expected = [forward(None, batch) for batch in batches]
    try:
        unpadded = UnpaddedTransformer(transformer, device)
    except NotUnpaddable as reason:
        log.info("texts are padded to the longest of their batch: %s", reason)
        return None
    try:
        found = [forward(unpadded, batch) for batch in batches]
        least = min(map(_least_cosine, expected, found))
        fault = f"the least cosine to the padded way is {least:.5f}" if not least >= LEAST_COSINE else None
    except (RuntimeError, TypeError, ValueError) as error:
        # A kernel that this GPU or this build lacks, or another form of attention in a later transformers.
        fault = f"{type(error).__name__}: {error}"
    if fault is None:
        return unpadded
    unpadded.undo()
    log.warning(
        "texts are padded to the longest of their batch, since computing without is not right: %s", fault
    )
    return None


def _probes(max_tokens: int) -> list[list[Tokens]]:
    chance = np.random.default_rng(0)
    return [
        [Tokens(chance.integers(5, 100, size=min(length, max_tokens)), truncated=False) for length in lengths]
        for lengths in PROBE_LENGTHS
    ]


def _least_cosine(one: Vectors, other: Vectors) -> float:
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return float(((one * other).sum(axis=1) / lengths).min())


def _attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    cu_seq_lens_q: Tensor,
    max_length_q: int,
    **_: Any,
) -> tuple[Tensor, None]:
    """Let every token attend to those of its own text; all tensors are (1, heads, tokens, size).

    Returns (1, tokens, heads, size), and no weights, as transformers' interface has it.
    """
    one, other, third = (each[0].transpose(0, 1) for each in (query, key, value))
    kernel = _on_gpu if query.is_cuda else _one_by_one
    return kernel(one, other, third, cu_seq_lens_q, max_length_q, scaling)[None], None


def _on_gpu(
    query: Tensor, key: Tensor, value: Tensor, bounds: Tensor, longest: int, scale: float | None
) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    attended = varlen_attn(query, key, value, bounds, bounds, longest, longest, scale=scale)
    assert isinstance(attended, Tensor), "asked for nothing beside it"
    return attended


def _one_by_one(
    query: Tensor, key: Tensor, value: Tensor, bounds: Tensor, longest: int, scale: float | None
) -> Tensor:
    edges = bounds.tolist()
    parts = []
    for start, end in pairwise(edges):
        one, other, third = (each[start:end].transpose(0, 1)[None] for each in (query, key, value))
        parts.append(scaled_dot_product_attention(one, other, third, scale=scale)[0].transpose(0, 1))
    return torch.cat(parts)
