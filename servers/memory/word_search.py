"""A search by words, alone or joined with the one by meaning.

It decides what "words" and "both" mean: the words choose and order, the index applies everything else that a
search asks for. It blocks; who calls it chooses the thread.
"""

from dataclasses import replace
from typing import Final

import numpy as np

from servers.errors import InvalidRequest
from servers.memory.index import VectorIndex
from servers.memory.keywords import KeywordIndex, fuse, in_order
from servers.memory.search import Found, Match, Search

FUSED_DEPTH: Final = 100
"""How far down the ranking by meaning is looked at when it is fused with the one by words."""


def require_words(keywords: KeywordIndex | None) -> KeywordIndex:
    """Return the index of words. Raises InvalidRequest where the server keeps none."""
    if keywords is None:
        raise InvalidRequest(
            "match: words are not indexed by this server; set its option keyword_search to true.",
            details={"field": "match", "allowed": ["meaning"]},
        )
    return keywords


def search_words(
    index: VectorIndex, keywords: KeywordIndex, search: Search, match: Match, words: str
) -> Found:
    """Return one page of what holds the words (match "words"), or of that and what is near ("both")."""
    holding = keywords.search(words)
    allowed = np.array(sorted(holding), dtype=np.int64)
    if search.allowed is not None:
        allowed = np.intersect1d(allowed, search.allowed)
    found = index.search(replace(search, allowed=allowed, offset=0, count=max(1, len(allowed))))
    hits, total, hidden = in_order(found.hits, holding), found.total, found.hidden
    if match == "both":
        depth = max(search.offset + search.count, FUSED_DEPTH)
        near = index.search(replace(search, offset=0, count=depth))
        hits, total, hidden = fuse(near.hits, hits), near.total, near.hidden
    return Found(hits[search.offset : search.offset + search.count], total, hidden)
