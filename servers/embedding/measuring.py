"""What an engine is worth on this machine: how near to the reference its vectors are, and how fast it is.

It decides how both are measured: accuracy over the probe texts, in company and alone; speed in rounds in
which every engine has one turn, so that other load on the machine meets them all alike. Which engine wins is
decided elsewhere.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from statistics import median
from typing import Final

import numpy as np

from servers.embedding.engine import Engine, Tokens, Vectors
from servers.embedding.probes import PROBES, SHORT_TEXTS
from servers.embedding.variants import Measurement, Variant
from servers.embedding.vectors import normalise

ROUNDS: Final = 5
NEAREST: Final = 10


def unit_vectors(engine: Engine, batches: list[list[Tokens]]) -> Vectors:
    """Return the unit vectors of all batches, one row per text."""
    return np.concatenate([normalise(engine.forward(batch)) for batch in batches])


def probe_vectors(engine: Engine) -> Vectors:
    """Return the unit vectors of the probe texts, computed in batches of similar lengths."""
    tokens = engine.tokenize(PROBES)
    order = sorted(range(len(tokens)), key=lambda place: len(tokens[place]))
    parts = np.array_split(np.array(order), 5)
    vectors = unit_vectors(engine, [[tokens[place] for place in part] for part in parts])
    return np.asarray(vectors[np.argsort(order)])


def measure_accuracy(variant: Variant, engine: Engine, reference: Vectors) -> Measurement:
    """Return how far the engine's vectors are from `reference`, rows in the order of `PROBES`.

    `min_cosine` counts all texts as computed in company, and every second one alone as well.
    """
    together = probe_vectors(engine)
    alone = unit_vectors(engine, [[tokens] for tokens in engine.tokenize(PROBES[::2])])
    cosines = np.concatenate(
        [(together * reference).sum(axis=1), (alone * reference[::2]).sum(axis=1)], dtype=np.float32
    )
    return Measurement(
        variant,
        min_cosine=float(cosines.min()),
        mean_cosine=float(cosines.mean()),
        rank_agreement=rank_agreement(together, reference),
        batch_delta=float(np.abs(together[::2] - alone).max()),
    )


def rank_agreement(vectors: Vectors, reference: Vectors) -> float:
    """Return the mean share of each row's nearest other rows that are the same in both sets, 0…1."""
    shared = [
        len(found & wanted) / len(wanted)
        for found, wanted in zip(_nearest(vectors), _nearest(reference), strict=True)
    ]
    return float(np.mean(shared))


def _nearest(vectors: Vectors) -> list[set[int]]:
    similarities = vectors @ vectors.T
    np.fill_diagonal(similarities, -np.inf)
    return [set(row[:NEAREST].tolist()) for row in np.argsort(-similarities, axis=1, kind="stable")]


def measure_speed(
    measured: Mapping[Variant, Measurement],
    engines: Mapping[Variant, Engine],
    on_round: Callable[[int], None],
    clock: Callable[[], float] = time.perf_counter,
) -> list[Measurement]:
    """Return the measurements with the median rate over `ROUNDS` turns at one batch of short texts.

    A first turn that prepares the engine is not counted. `on_round` is told how many rounds are done.
    """
    batches = {variant: engine.tokenize(SHORT_TEXTS) for variant, engine in engines.items()}
    rates: dict[Variant, list[float]] = {variant: [] for variant in engines}
    for done in range(ROUNDS + 1):
        for variant, engine in engines.items():
            began = clock()
            engine.forward(batches[variant])
            rates[variant].append(len(SHORT_TEXTS) / (clock() - began))
        on_round(done)
    return [
        replace(measurement, texts_per_s=median(rates[variant][1:])) if variant in rates else measurement
        for variant, measurement in measured.items()
    ]
