"""What the memory benchmark asks of its peers, in their own virtual environment: one line in, one line out.

`python memory_peers.py chroma FOLDER`, `lancedb FOLDER` or `faiss ROWS`. Knows nothing of this project; the
vectors are drawn from the same seed as `benchmarks.memory_data` draws them from.
"""

from __future__ import annotations

import json
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

DIMENSIONS = 384
SEED = 1


def unit_vectors(count: int, seed: int = SEED) -> np.ndarray:
    """The vectors of the benchmark."""
    vectors = np.random.default_rng(seed).standard_normal((count, DIMENSIONS), dtype=np.float32)
    for start in range(0, count, 65_536):
        part = vectors[start : start + 65_536]
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return vectors


def text_of(number: int) -> str:
    """The text of memory `number`."""
    return f"Memory number {number} of the benchmark, about as long as what people say."


Write = Callable[[range, np.ndarray], object]
"""Stores memories: their numbers, and as many vectors."""


def chroma_writer(folder: str) -> Write:
    """Stores into a persistent Chroma collection, with its defaults."""
    import chromadb

    collection = chromadb.PersistentClient(path=folder).create_collection("memories")
    return lambda numbers, vectors: collection.add(
        ids=[str(number) for number in numbers],
        embeddings=vectors.tolist(),
        documents=[text_of(number) for number in numbers],
    )


def lancedb_writer(folder: str) -> Write:
    """Stores into a local LanceDB table, with its defaults."""
    import lancedb
    import pyarrow

    vector_type = pyarrow.list_(pyarrow.float32(), DIMENSIONS)
    schema = pyarrow.schema([("id", pyarrow.string()), ("text", pyarrow.string()), ("vector", vector_type)])
    table = lancedb.connect(folder).create_table("memories", schema=schema)
    return lambda numbers, vectors: table.add(
        [
            {"id": str(number), "text": text_of(number), "vector": vector}
            for number, vector in zip(numbers, vectors.tolist(), strict=True)
        ]
    )


def serve_writer(write: Write) -> None:
    """Per line `CLIENTS SECONDS ITEMS`: threads, and memories of one store; answers the rate."""
    vectors = unit_vectors(20_000, seed=2)
    lock = threading.Lock()
    free = 0

    def store_until(ends: float, items: int, done: list[float]) -> None:
        nonlocal free
        while (began := time.perf_counter()) < ends:
            with lock:
                numbers = range(free, free + items)
                free += items
            write(numbers, vectors[[number % len(vectors) for number in numbers]])
            done.append(time.perf_counter() - began)

    for clients, seconds, items in orders():
        done: list[float] = []
        began = time.perf_counter()
        threads = [
            threading.Thread(target=store_until, args=(began + seconds, int(items), done))
            for _ in range(int(clients))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        elapsed = time.perf_counter() - began
        answer({"per_second": len(done) * items / elapsed, "p50_ms": 1000 * statistics.median(done)})


def serve_faiss(rows: int) -> None:
    """Per line `QUERIES SEED`: the exact top 10 of so many queries at once; answers seconds and rows."""
    import faiss

    index = faiss.IndexFlatIP(DIMENSIONS)
    index.add(unit_vectors(rows))
    for queries, seed in orders():
        asked = unit_vectors(int(queries), seed=int(seed))
        began = time.perf_counter()
        _, found = index.search(asked, 10)
        answer({"seconds": time.perf_counter() - began, "rows": found.tolist()})


def orders() -> Iterator[list[float]]:
    """The lines of standard input, as numbers."""
    for line in sys.stdin:
        yield [float(word) for word in line.split()]


def answer(found: object) -> None:
    """Write one line."""
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "faiss":
        serve_faiss(int(sys.argv[2]))
    else:
        serve_writer({"chroma": chroma_writer, "lancedb": lancedb_writer}[sys.argv[1]](sys.argv[2]))
