"""How many texts a second an engine makes in its own process, at the batch size that suits it best.

The measure that a server's throughput is held against: no server, no queue, texts tokenised beforehand. They
are sorted by length 64 at a time, which is what a server with 64 waiting clients has to choose from.
`sentence-transformers` is measured by its own `encode`, tokenising included, since that is how it is used.

Run: python -m benchmarks.engine_rate BACKEND SECONDS
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass
from typing import TypeVar

from benchmarks.texts import short_texts

T = TypeVar("T", bound=Sized)
SIZES = (8, 16, 32, 64)
TEXTS = 192
POOL = 64


@dataclass(frozen=True)
class Rate:
    """What a batch size gives: texts a second, and CPU time (of all threads) for each."""

    texts_per_second: float
    cpu_ms_per_text: float


def main(backend: str, seconds: float) -> dict[str, object]:
    """Return the best rate of `backend` (an engine's, or `sentence-transformers`) and all by batch size."""
    texts = short_texts(TEXTS)
    measure = _encode_rate if backend == "sentence-transformers" else _engine_rate
    name, rates = measure(backend, texts, seconds / len(SIZES))
    best = max(rates, key=lambda size: rates[size].texts_per_second)
    return {
        "engine": name,
        "texts_per_second": rates[best].texts_per_second,
        "batch": best,
        "cpu_ms_per_text": rates[best].cpu_ms_per_text,
        "by_batch": {size: rate.texts_per_second for size, rate in rates.items()},
    }


def _engine_rate(backend: str, texts: list[str], seconds: float) -> tuple[str, dict[int, Rate]]:
    from servers.embedding.loading import load_engine
    from servers.settings import EmbeddingSettings

    engine = load_engine(EmbeddingSettings.model_validate({"backend": backend}), lambda _phase, _share: None)
    tokens = engine.tokenize(texts)
    rates = {size: _rate(_batches(tokens, size), engine.forward, seconds) for size in SIZES}
    return f"{engine.info.backend} {engine.info.dtype}", rates


def _encode_rate(backend: str, texts: list[str], seconds: float) -> tuple[str, dict[int, Rate]]:
    from sentence_transformers import SentenceTransformer

    from servers.embedding.models import find_model

    model = SentenceTransformer(str(find_model("all-MiniLM-L6-v2").path), device="cpu", local_files_only=True)

    def encode(batch: Sequence[str]) -> object:
        return model.encode(list(batch), batch_size=len(batch), show_progress_bar=False)

    rates = {size: _rate(_batches(texts, size), encode, seconds) for size in SIZES}
    return "sentence-transformers float32", rates


def _batches(things: Sequence[T], size: int) -> list[Sequence[T]]:
    batches: list[Sequence[T]] = []
    for start in range(0, len(things), POOL):
        pool = sorted(things[start : start + POOL], key=len)
        batches += [pool[place : place + size] for place in range(0, len(pool), size)]
    return batches


def _rate(batches: list[Sequence[T]], compute: Callable[[Sequence[T]], object], seconds: float) -> Rate:
    """Compute whole passes through the batches; the rate is the median of the passes."""
    compute(batches[0])
    compute(batches[-1])
    rates: list[float] = []
    used = time.process_time()
    ends = time.perf_counter() + seconds
    while not rates or time.perf_counter() < ends:
        began = time.perf_counter()
        for batch in batches:
            compute(batch)
        rates.append(sum(map(len, batches)) / (time.perf_counter() - began))
    texts = len(rates) * sum(map(len, batches))
    cpu_ms = 1000 * (time.process_time() - used) / texts
    return Rate(round(statistics.median(rates), 2), round(cpu_ms, 3))


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], float(sys.argv[2]))))
