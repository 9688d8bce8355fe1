"""How many texts a second an engine makes in its own process, at the batch size that suits it best.

The measure that a server's throughput is held against: no server, no queue, texts tokenised beforehand and
sorted by length, so that there is next to no padding. `sentence-transformers` is measured by its own
`encode`, tokenising included, since that is how it is used.

Run: python -m benchmarks.engine_rate BACKEND SECONDS
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from benchmarks.texts import short_texts

T = TypeVar("T")
SIZES = (8, 16, 32, 64)
TEXTS = 192


def main(backend: str, seconds: float) -> dict[str, object]:
    """Return the best rate of `backend` (an engine's, or `sentence-transformers`) and all by batch size."""
    texts = short_texts(TEXTS)
    measure = _encode_rate if backend == "sentence-transformers" else _engine_rate
    name, rates = measure(backend, texts, seconds / len(SIZES))
    best = max(rates, key=lambda size: rates[size])
    return {"engine": name, "texts_per_second": rates[best], "batch": best, "by_batch": rates}


def _engine_rate(backend: str, texts: list[str], seconds: float) -> tuple[str, dict[int, float]]:
    from servers.embedding.loading import load_engine
    from servers.settings import EmbeddingSettings

    engine = load_engine(EmbeddingSettings.model_validate({"backend": backend}), lambda _phase, _share: None)
    tokens = sorted(engine.tokenize(texts), key=len)
    rates = {size: _rate(_batches(tokens, size), engine.forward, seconds) for size in SIZES}
    return f"{engine.info.backend} {engine.info.dtype}", rates


def _encode_rate(backend: str, texts: list[str], seconds: float) -> tuple[str, dict[int, float]]:
    from sentence_transformers import SentenceTransformer

    from servers.embedding.models import find_model

    model = SentenceTransformer(str(find_model("all-MiniLM-L6-v2").path), device="cpu", local_files_only=True)
    ordered = sorted(texts, key=len)

    def encode(batch: Sequence[str]) -> object:
        return model.encode(list(batch), batch_size=len(batch), show_progress_bar=False)

    rates = {size: _rate(_batches(ordered, size), encode, seconds) for size in SIZES}
    return "sentence-transformers float32", rates


def _batches(things: Sequence[T], size: int) -> list[Sequence[T]]:
    return [things[start : start + size] for start in range(0, len(things), size)]


def _rate(batches: list[Sequence[T]], compute: Callable[[Sequence[T]], object], seconds: float) -> float:
    """Return texts a second over whole passes through the batches, the median of the passes."""
    compute(batches[0])
    compute(batches[-1])
    rates: list[float] = []
    ends = time.perf_counter() + seconds
    while not rates or time.perf_counter() < ends:
        began = time.perf_counter()
        for batch in batches:
            compute(batch)
        rates.append(sum(map(len, batches)) / (time.perf_counter() - began))
    return round(statistics.median(rates), 2)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], float(sys.argv[2]))))
