"""Graphs run by OpenVINO on the CPU: float32, or bfloat16 inside where the CPU computes it.

It decides how OpenVINO is set up: as many threads as the server was given, in streams that compute a part of
a batch each, no pinning (two servers pin themselves to the same cores), and its compiled code kept beside
the graph for the next start.
"""

import gc
import importlib
import logging
import shutil
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from servers.embedding.artefacts import OPENVINO_FILE
from servers.embedding.pooling import Padded

logger = logging.getLogger(__name__)


_COMPILED: Final = "compiled"
_OPTIONS: Final[dict[str, dict[str, object]]] = {
    "float32": {"INFERENCE_PRECISION_HINT": "f32"},
    "bfloat16": {"INFERENCE_PRECISION_HINT": "bf16"},
    # One scale per token: with one scale per batch, a text's vector would depend on what shares its batch.
    "int8": {"DYNAMIC_QUANTIZATION_GROUP_SIZE": 1 << 30},
}


def import_openvino() -> Any:
    """Return the `openvino` module, imported without its converter.

    The package tries to import its model converter, which brings a telemetry client along that writes an
    identifier into the user's home and reports to a server. OpenVINO goes on without a converter that cannot
    be imported; its C++ reader of ONNX files does the converting here.
    """
    sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]  # the documented way to refuse
    openvino = importlib.import_module("openvino")
    # Its table of number formats is made when it is first asked for, and the interpreter let go of meanwhile.
    # A second thread that asks then waits for the table with the interpreter in hand: both wait for ever.
    openvino.Type.i64.to_dtype()
    return openvino


_FEW_THREADS: Final = 2
"""Up to so many threads each has a stream of its own, above it a stream has two.

Threads of one stream wait for each other after every layer, for a time slice when another process has the
core: at 16 short texts two streams of one thread made 904 texts a second, one of two threads 622.
"""


def count_streams(threads: int) -> int:
    """Return how many streams share `threads` threads."""
    return threads if threads <= _FEW_THREADS else -(-threads // 2)


class OpenVinoGraph:
    """A `Graph` in OpenVINO's format, compiled for this machine."""

    def __init__(self, folder: Path, dtype: str, threads: int) -> None:
        """Load and compile the graph in `folder`; `dtype` is float32, bfloat16 or int8 (of the graph).

        Raises `RuntimeError` with OpenVINO's reason for a graph that does not load.
        """
        core = import_openvino().Core()
        options: dict[str, object] = {
            **_OPTIONS[dtype],
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": count_streams(threads),
            "PERFORMANCE_HINT": "THROUGHPUT",
            "ENABLE_CPU_PINNING": False,
        }
        self._compiled: Any = _compile(core, folder, options)
        names = {port.get_any_name(): place for place, port in enumerate(self._compiled.inputs)}
        self._places = (names["input_ids"], names["attention_mask"])
        self._streams = count_streams(threads)
        self._requests: list[Any] = []

    @property
    def streams(self) -> int:
        """How many parts of a batch are computed at once."""
        return self._streams

    def infer(self, parts: Sequence[Padded]) -> Generator[NDArray[np.float32], None, None]:
        """Yield the token vectors of each part, as views into OpenVINO's memory."""
        requests = [self._idle_request() for _ in parts]
        started = []
        try:
            for request, part in zip(requests, parts, strict=True):
                request.start_async(dict(zip(self._places, part, strict=True)), share_inputs=True)
                started.append(request)
            for request in requests:
                request.wait()
                hidden: NDArray[np.float32] = request.get_output_tensor(0).data
                yield hidden
        finally:
            _settle(started)
            self._requests.extend(requests)

    def _idle_request(self) -> Any:
        try:
            return self._requests.pop()
        except IndexError:
            return self._compiled.create_infer_request()

    def close(self) -> None:
        """Free the compiled graph."""
        self._requests.clear()
        self._compiled = None
        gc.collect()


def _settle(requests: Sequence[Any]) -> None:
    """Wait until none of `requests` computes; what fails only now is of no interest any more."""
    for request in requests:
        try:
            request.wait()
        except RuntimeError as error:
            logger.debug("a part that nobody waits for has failed: %s", error)


def _compile(core: Any, folder: Path, options: dict[str, object]) -> Any:
    graph = str(folder / OPENVINO_FILE)
    try:
        # Loading code that was compiled before takes half the time of compiling it again.
        return core.compile_model(graph, "CPU", {**options, "CACHE_DIR": str(folder / _COMPILED)})
    except RuntimeError as error:
        logger.warning("OpenVINO's compiled code in %s is of no use: %s", folder / _COMPILED, error)
        shutil.rmtree(folder / _COMPILED, ignore_errors=True)
        return core.compile_model(graph, "CPU", options)
