"""What a request for vectors gets: the vectors, what was read of each text, and where the time went.

It knows no queues and no engine; it is what `worker` returns to the handlers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from servers.embedding.engine import Tokens, Vectors
from servers.errors import TooLarge
from servers.stages import Stages

Priority = Literal["interactive", "bulk"]
"""The lane that a request waits in; bulk gives way to interactive."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Where a request's time went, in seconds: waiting for its first batch, tokenising, computing."""

    queue_s: float
    tokenize_s: float
    infer_s: float

    def note_in(self, stages: Stages) -> None:
        """Add these to what a request took: queue, tokenize, infer."""
        stages.note("queue", self.queue_s)
        stages.note("tokenize", self.tokenize_s)
        stages.note("infer", self.infer_s)


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """The answer to one request: `vectors` (texts, dimensions), float32 and C-contiguous, in the order asked.

    `tokens` are the true lengths after cutting, special tokens included; `truncated` says which were cut.
    """

    vectors: Vectors
    tokens: tuple[int, ...]
    truncated: tuple[bool, ...]
    timing: Timing


def refuse_cut_texts(tokens: Sequence[Tokens], limit: int) -> None:
    """Raise `TooLarge` for the first text that did not fit the `limit` tokens that the model takes."""
    for place, each in enumerate(tokens):
        if each.truncated:
            raise TooLarge(
                f"Text {place} has more than the {limit} tokens the model takes, and `truncate` is false.",
                details={"text": place, "limit_tokens": limit},
            )
