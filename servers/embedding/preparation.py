"""The work of the preparing process: load the reference, export, measure every candidate, choose.

It decides that a candidate which fails is measured as failed and never ends the preparation. Imports torch.
"""

import logging
from contextlib import ExitStack

import torch

from servers.embedding.engine import Engine, OnPhase, Vectors
from servers.embedding.exporting import export_variants
from servers.embedding.graph_loading import load_graph_engine
from servers.embedding.measuring import measure_accuracy, measure_speed, probe_vectors
from servers.embedding.selection import Wanted
from servers.embedding.torch_engine import (
    TorchEngine,
    load_model,
    load_torch_engine,
    resolve_device,
)
from servers.embedding.variants import REFERENCE, Choice, Measurement, NothingFits, Variant, choose
from servers.errors import BadSettings

logger = logging.getLogger(__name__)


def find_choice(wanted: Wanted, on_phase: OnPhase) -> Choice:
    """Return the fastest variant that serves `wanted` on this machine, its artefact made.

    Only for the process that holds the model's folder. Reports load-model, export and measure. Raises
    `BadSettings` when nothing that was asked for works here, `ModelMissing` for files that do not load, and
    `OSError` when the cache cannot be written.
    """
    return _Preparation(wanted, on_phase).run()


class _Preparation:
    """One pass through the candidates of one request."""

    def __init__(self, wanted: Wanted, on_phase: OnPhase) -> None:
        self._wanted = wanted
        self._on_phase = on_phase
        torch.set_num_threads(wanted.threads)
        self._place = resolve_device(wanted.device)
        self._candidates = wanted.candidates(self._place.type)

    def run(self) -> Choice:
        self._on_phase("load-model", 0.3)
        model = load_model(self._wanted.files, self._place)
        self._on_phase("export", 0.4)
        self._failures = export_variants(model, self._wanted, self._candidates)
        reference = TorchEngine(model, self._wanted.files, self._place)
        measured = self._measure(reference)
        try:
            return choose(measured, self._wanted.accuracy, str(self._place))
        except NothingFits as error:
            raise BadSettings(
                f"no engine serves {self._wanted.name!r} as `backend: {self._wanted.backend}` and "
                f"`accuracy: {self._wanted.accuracy}` ask: {error}",
                where="options.backend, options.accuracy",
                mend="Set `backend: auto`, or install the CPU engines: pip install 'lucid-launch[cpu]'.",
            ) from error

    def _measure(self, reference: TorchEngine) -> list[Measurement]:
        expected = probe_vectors(reference)
        with ExitStack() as stack:
            engines: dict[Variant, Engine] = {}
            measured: dict[Variant, Measurement] = {}
            for place, variant in enumerate(self._candidates):
                self._on_phase("measure", 0.6 + 0.1 * place / len(self._candidates))
                measured[variant] = self._measure_one(variant, reference, expected, engines, stack)
            return measure_speed(
                measured, engines, lambda done: self._on_phase("measure", min(0.99, 0.7 + done / 28))
            )

    def _measure_one(
        self,
        variant: Variant,
        reference: TorchEngine,
        expected: Vectors,
        engines: dict[Variant, Engine],
        stack: ExitStack,
    ) -> Measurement:
        if variant in self._failures:
            return Measurement(variant, failure=self._failures[variant])
        try:
            engine = reference if variant == REFERENCE else self._load(variant)
            if engine is not reference:
                stack.callback(engine.close)
            measurement = measure_accuracy(variant, engine, expected)
        except Exception as error:
            # A library that does not work on this machine loses one candidate, not the start.
            logger.warning("%s does not work here", variant, exc_info=error)
            return Measurement(variant, failure=f"it does not work here: {type(error).__name__}: {error}")
        engines[variant] = engine
        return measurement

    def _load(self, variant: Variant) -> Engine:
        wanted = self._wanted
        if variant.backend == "torch":
            return load_torch_engine(
                wanted.files, str(self._place), wanted.threads, wanted.vram_bytes, dtype=variant.dtype
            )
        return load_graph_engine(wanted, variant)
