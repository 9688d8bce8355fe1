"""The terms of significance that both servers share: content tokens, information, surprise, significance.

Pure. It decides how much a text says and how new a vector is (protocol.md section 4, "Scoring"). It does not
know where texts or vectors come from, nor how results are ranked: that is each server's own business.
"""

import math
import re
from typing import Final

INFORMATION_SCALE: Final = 12.0
"""Distinct content tokens at which information reaches 1 - 1/e (protocol.md section 4)."""

SURPRISE_WEIGHT: Final = 0.6
"""Share of surprise in significance (protocol.md section 4)."""

INFORMATION_WEIGHT: Final = 0.4
"""Share of information in significance (protocol.md section 4)."""

# Scripts written without spaces carry about one word per sign, so each sign is a token of its own.
_TOKEN: Final = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]|[^\W_]+")

_FUNCTION_WORDS: Final = """
a about above after again all also am an and any are as at be because been before being below between both
but by can could did do does doing down during each few for from further had has have having he her here
hers him his how i if in into is it its itself just ll me more most my no nor not now of off on once only
or other our ours out over own re s same she should so some such t than that the their theirs them then
there these they this those through to too under until up ve very was we were what when where which while
who whom why will with would you your yours d m
"""

STOP_WORDS: Final = frozenset(_FUNCTION_WORDS.split())
"""English function words, which carry no content of their own."""


def content_tokens(text: str) -> frozenset[str]:
    """Return the distinct words of `text` that carry content.

    Words are runs of letters and digits of any script, case-folded, without `STOP_WORDS`; signs of scripts
    written without spaces count one by one. A text without any content word gives the empty set.
    """
    return frozenset(_TOKEN.findall(text.casefold())) - STOP_WORDS


def information(text: str) -> float:
    """Return how much `text` says, in 0…1: 1 - exp(-distinct content tokens / 12) (protocol.md section 4)."""
    return -math.expm1(-len(content_tokens(text)) / INFORMATION_SCALE)


def surprise(highest_similarity: float | None) -> float:
    """Return how new something is, in 0…1: 1 - its highest cosine similarity (-1…1) to what is known.

    `None` says that nothing is known yet, which makes anything fully surprising: 1.0. The result is
    clamped (protocol.md section 4).
    """
    if highest_similarity is None:
        return 1.0
    return min(1.0, max(0.0, 1.0 - highest_similarity))


def significance(surprise: float, information: float) -> float:
    """Return 0.6 · surprise + 0.4 · information; terms and result lie in 0…1 (protocol.md section 4)."""
    return min(1.0, max(0.0, SURPRISE_WEIGHT * surprise + INFORMATION_WEIGHT * information))
