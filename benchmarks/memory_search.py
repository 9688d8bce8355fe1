"""Exact top-10 of a million vectors: ours, one read of the vectors, and faiss, in turn in every round.

The index is the server's own; the read is torch's maximum over the same float32 vectors as integers, which
does nothing but fetch them. Every answer is compared with that of faiss, row by row.
"""

from __future__ import annotations

import statistics
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.memory_data import DIMENSIONS, NOW_MS, PIECE_ROWS, Vectors, peer, seconds_of, unit_vectors
from servers.memory.index import VectorIndex
from servers.memory.scoring import RankWeights
from servers.memory.search import Found, Search
from servers.memory.store.base import NEVER_MS, Columns

TOP = 10
TOGETHER = 32
ONLY_RELEVANCE = RankWeights(relevance=1.0, significance=0.0, recency=0.0)


def measure(rows: int, peers: Path | None, rounds: int) -> dict[str, Any]:
    """Return the seconds of every round: `read`, `one`, `weighted`, `together`, and those of faiss."""
    import torch

    with ExitStack() as stack:
        faiss = stack.enter_context(peer(peers, "faiss", rows)) if peers is not None else None
        index = filled(rows)
        stack.callback(index.close)
        blocks = [block.vectors.view(torch.int64) for block in index.columns.view.blocks]
        found: dict[str, Any] = {"rows": rows, "mode": index.mode, "unlike_faiss": 0, "wrong": 0}
        for number in range(-1, rounds):
            seconds = _round(index, blocks, faiss, number, found)
            if number >= 0:  # the first one warms everything up
                for name, value in seconds.items():
                    found.setdefault(name, []).append(value)
        return found


def filled(rows: int, device: str = "cpu") -> VectorIndex:
    """Return an index of so many memories of the benchmark."""
    index = VectorIndex(DIMENSIONS, device)
    index.reserve(rows)
    vectors = unit_vectors(rows)
    significances = np.random.default_rng(3).random(rows)
    for start in range(0, rows, PIECE_ROWS):
        place = slice(start, min(rows, start + PIECE_ROWS))
        seqs = np.arange(place.start + 1, place.stop + 1, dtype=np.int64)
        index.append(
            Columns(
                ids=[f"m{seq}" for seq in seqs],
                namespaces=["default"] * len(seqs),
                seqs=seqs,
                timestamps_ms=NOW_MS + seqs,
                expires_at_ms=np.full(len(seqs), NEVER_MS),
                significances=significances[place],
                vectors=vectors[place],
            )
        )
    return index


def _round(index: VectorIndex, blocks: list[Any], faiss: Any, number: int, found: Any) -> dict[str, float]:
    seed = 1000 + number
    queries = unit_vectors(TOGETHER, seed=seed)
    seconds = {"read": seconds_of(lambda: [block.max() for block in blocks])}
    seconds["one"], (one,) = _timed(index, queries[:1], ONLY_RELEVANCE)
    seconds["weighted"], _ = _timed(index, queries[:1], RankWeights())
    seconds["together"], together = _timed(index, queries, ONLY_RELEVANCE)
    if faiss is not None:
        alone, all_of_them = faiss.ask(1, seed), faiss.ask(TOGETHER, seed)
        seconds |= {"faiss_one": alone["seconds"], "faiss_together": all_of_them["seconds"]}
        expected = alone["rows"] + all_of_them["rows"]
        asked = np.concatenate([queries[:1], queries])
        for mine, theirs, query in zip([one, *together], expected, asked, strict=True):
            if _rows(mine) != theirs:
                found["unlike_faiss"] += 1
                found["wrong"] += _best(index, query, {*_rows(mine), *theirs}) != _rows(mine)
    return seconds


def _best(index: VectorIndex, query: Vectors, rows: set[int]) -> list[int]:
    """The first of these rows by scores in float64: faiss adds in float32, so it may swap near ties."""
    places = np.array(sorted(rows))
    scores = index.columns.view.vectors_of(places).astype(np.float64) @ query.astype(np.float64)
    return [int(place) for place in places[np.argsort(-scores, kind="stable")][:TOP]]


def _timed(index: VectorIndex, queries: Vectors, weights: RankWeights) -> tuple[float, list[Found]]:
    searches = [
        Search("default", NOW_MS + 10_000_000, TOP, sort="relevance", query=query, weights=weights)
        for query in queries
    ]
    began = time.perf_counter()
    found = index.search_many(searches)
    return time.perf_counter() - began, found


def _rows(found: Found) -> list[int]:
    return [hit.seq - 1 for hit in found.hits]


def measure_gpu(rows: int, rounds: int) -> dict[str, Any]:
    """Return the queries per second of batches of 64 on a CUDA device, and the share of its bandwidth used.

    The bandwidth is what one read of as many bytes as the codes have reaches on that device in the same run.
    """
    import torch

    index = filled(rows, "cuda")
    component_bytes = {"float16": 2, "float32": 4}[index.mode]
    codes = torch.zeros(rows * DIMENSIONS * component_bytes // 8, dtype=torch.int64, device="cuda")

    def read() -> None:
        codes.max()
        torch.cuda.synchronize()

    read()
    reading = statistics.median(seconds_of(read) for _ in range(rounds))
    batches = [unit_vectors(64, seed=1000 + number) for number in range(rounds + 1)]
    seconds = [_timed(index, queries, ONLY_RELEVANCE)[0] for queries in batches][1:]
    index.close()
    return {
        "rows": rows,
        "device": torch.cuda.get_device_name(),
        "mode": index.mode,
        "queries_per_second": 64 / statistics.median(seconds),
        "bandwidth_share": reading / statistics.median(seconds),
    }
