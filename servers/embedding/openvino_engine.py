"""Graphs run by OpenVINO on the CPU: float32, or bfloat16 inside where the CPU computes it.

It decides how OpenVINO is set up: as many threads as the server was given, one stream, no pinning (two
servers pin themselves to the same cores), and its compiled code kept beside the graph for the next start.
"""

import gc
import importlib
import logging
import shutil
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from servers.embedding.artefacts import OPENVINO_FILE

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
    return importlib.import_module("openvino")


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
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,
        }
        compiled = _compile(core, folder, options)
        names = {port.get_any_name(): place for place, port in enumerate(compiled.inputs)}
        self._places = (names["input_ids"], names["attention_mask"])
        self._request: Any = compiled.create_infer_request()

    def infer(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the token vectors, as a view into OpenVINO's memory."""
        inputs = dict(zip(self._places, (ids, mask), strict=True))
        self._request.infer(inputs, share_inputs=True)
        hidden: NDArray[np.float32] = self._request.get_output_tensor(0).data
        return hidden

    def close(self) -> None:
        """Free the compiled graph."""
        self._request = None
        gc.collect()


def _compile(core: Any, folder: Path, options: dict[str, object]) -> Any:
    graph = str(folder / OPENVINO_FILE)
    try:
        # Loading code that was compiled before takes half the time of compiling it again.
        return core.compile_model(graph, "CPU", {**options, "CACHE_DIR": str(folder / _COMPILED)})
    except RuntimeError as error:
        logger.warning("OpenVINO's compiled code in %s is of no use: %s", folder / _COMPILED, error)
        shutil.rmtree(folder / _COMPILED, ignore_errors=True)
        return core.compile_model(graph, "CPU", options)
