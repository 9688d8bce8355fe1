"""Search by words beside search by meaning: a full-text index in memory, rebuilt at start like the other one.

It decides what counts as a word and which memories hold it, best match first (BM25, SQLite's FTS5). It never
touches the disk, so it cannot disagree with the store after a crash; it works beside every store.
"""

import re
import threading
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Final

import apsw

from servers.memory.search import Hit

MOST_HITS: Final = 1000
"""Memories that a search by words considers: beyond, the match is one common word."""
RANK_SHIFT: Final = 60
"""k of reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009)."""
_WORD: Final = re.compile(r"\w+")
_MOST_WORDS: Final = 64


class KeywordIndex:
    """The words of the memories that are shown, by seq; any thread may call, one at a time gets in."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection = apsw.Connection(":memory:")
        self._connection.execute(
            "CREATE VIRTUAL TABLE words USING fts5(text, content='', contentless_delete=1, detail=full, "
            "tokenize='unicode61 remove_diacritics 2')"
        )

    def put(self, texts: Iterable[tuple[int, str]]) -> None:
        """Index these texts under their seqs, in place of what was there."""
        rows = [(seq, text) for seq, text in texts]
        with self._lock, self._connection:
            self._connection.executemany("DELETE FROM words WHERE rowid = ?", [(seq,) for seq, _ in rows])
            self._connection.executemany("INSERT INTO words (rowid, text) VALUES (?, ?)", rows)

    def remove(self, seqs: Sequence[int]) -> None:
        """Forget these seqs; unknown ones are already."""
        with self._lock, self._connection:
            self._connection.executemany("DELETE FROM words WHERE rowid = ?", [(seq,) for seq in seqs])

    def search(self, query: str) -> list[int]:
        """Return the seqs of the memories that hold any word of the query, best match first."""
        words = list(dict.fromkeys(_WORD.findall(query.casefold())))[:_MOST_WORDS]
        if not words:
            return []
        wanted = " OR ".join(f'"{word}"' for word in words)
        statement = "SELECT rowid FROM words WHERE words MATCH ? ORDER BY bm25(words), rowid LIMIT ?"
        with self._lock, closing(self._connection.cursor()) as cursor:
            return [int(str(seq)) for (seq,) in cursor.execute(statement, (wanted, MOST_HITS))]


def in_order(hits: Iterable[Hit], seqs: Sequence[int]) -> list[Hit]:
    """Return the hits in the order of `seqs`; hits of other seqs are left out."""
    by_seq = {hit.seq: hit for hit in hits}
    return [by_seq[seq] for seq in seqs if seq in by_seq]


def fuse(*rankings: Sequence[Hit]) -> list[Hit]:
    """Return all hits of the rankings by reciprocal rank fusion, the fused value as their score.

    A hit's score is the sum of 1 / (60 + its place) over the rankings it stands in, places from 1 on; ties go
    to the lower seq.
    """
    scores: dict[int, float] = {}
    hits: dict[int, Hit] = {}
    for ranking in rankings:
        for place, hit in enumerate(ranking, start=1):
            scores[hit.seq] = scores.get(hit.seq, 0.0) + 1.0 / (RANK_SHIFT + place)
            hits.setdefault(hit.seq, hit)
    order = sorted(scores, key=lambda seq: (-scores[seq], seq))
    return [replace(hits[seq], score=scores[seq]) for seq in order]
