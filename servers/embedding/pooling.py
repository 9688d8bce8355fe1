"""From token ids to a padded batch, and from a model's token vectors to one vector per text.

Pure numpy, used by the engines that run an exported graph. It decides that pooling is done in float32 and
over a text's own tokens only, whatever precision the graph runs in: padding never enters a sum.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from servers.embedding.engine import Tokens, Vectors
from servers.embedding.parts import padded_width

PoolingMode = Literal["mean", "cls", "max", "mean_sqrt_len", "lasttoken"]

Padded = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Token ids and their mask (1: a token, 0: padding), each (texts, width)."""


def pad(batch: Sequence[Tokens], pad_id: int) -> Padded:
    """Return ids and mask of a non-empty batch, each (texts, width), padded on the right."""
    width = padded_width(max(len(tokens) for tokens in batch))
    ids = np.full((len(batch), width), pad_id, dtype=np.int64)
    mask = np.zeros((len(batch), width), dtype=np.int64)
    for row, tokens in enumerate(batch):
        ids[row, : len(tokens)] = tokens.ids
        mask[row, : len(tokens)] = 1
    return ids, mask


def pool(hidden: NDArray[np.float32], lengths: Sequence[int], mode: PoolingMode) -> Vectors:
    """Return (texts, dimensions) from token vectors (texts, width, dimensions), padded on the right.

    The modes are those of sentence-transformers' `Pooling` module. Each text's sum runs over its own tokens
    in order, so that its vector cannot depend on the width of the batch.
    """
    reduce = _MODES[mode]
    pooled = np.empty((len(lengths), hidden.shape[2]), dtype=np.float32)
    for row, length in enumerate(lengths):
        pooled[row] = reduce(hidden[row, :length])
    return pooled


def _sum(tokens: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.add.reduce(tokens, axis=0, dtype=np.float32))


_Reduce = Callable[[NDArray[np.float32]], NDArray[np.float32]]

_MODES: Final[Mapping[PoolingMode, _Reduce]] = MappingProxyType(
    {
        "mean": lambda tokens: _sum(tokens) / np.float32(len(tokens)),
        "cls": lambda tokens: tokens[0],
        "max": lambda tokens: np.asarray(tokens.max(axis=0)),
        "mean_sqrt_len": lambda tokens: _sum(tokens) / np.sqrt(np.float32(len(tokens))),
        "lasttoken": lambda tokens: tokens[-1],
    }
)
