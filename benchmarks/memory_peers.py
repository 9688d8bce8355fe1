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


def chroma_writer(folder: str) -> Callable[[int, np.ndarray], object]:
    """One store into a persistent Chroma collection, with its defaults."""
    import chromadb

    collection = chromadb.PersistentClient(path=folder).create_collection("memories")
    return lambda number, vector: collection.add(
        ids=[str(number)], embeddings=[vector.tolist()], documents=[text_of(number)]
    )


def lancedb_writer(folder: str) -> Callable[[int, np.ndarray], object]:
    """One store into a local LanceDB table, with its defaults."""
    import lancedb
    import pyarrow

    vector_type = pyarrow.list_(pyarrow.float32(), DIMENSIONS)
    schema = pyarrow.schema([("id", pyarrow.string()), ("text", pyarrow.string()), ("vector", vector_type)])
    table = lancedb.connect(folder).create_table("memories", schema=schema)
    return lambda number, vector: table.add(
        [{"id": str(number), "text": text_of(number), "vector": vector.tolist()}]
    )


def serve_writer(write: Callable[[int, np.ndarray], object]) -> None:
    """Per line `CLIENTS SECONDS`: so many threads store one memory after the other; answers the rate."""
    vectors = unit_vectors(20_000, seed=2)
    next_number = iter(range(10**9))
    lock = threading.Lock()

    def store_until(ends: float, done: list[float]) -> None:
        while (began := time.perf_counter()) < ends:
            with lock:
                number = next(next_number)
            write(number, vectors[number % len(vectors)])
            done.append(time.perf_counter() - began)

    for clients, seconds in orders():
        done: list[float] = []
        began = time.perf_counter()
        threads = [
            threading.Thread(target=store_until, args=(began + seconds, done)) for _ in range(int(clients))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        elapsed = time.perf_counter() - began
        answer({"per_second": len(done) / elapsed, "p50_ms": 1000 * statistics.median(done)})


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
