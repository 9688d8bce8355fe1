"""Graphs run by ONNX Runtime on the CPU.

It decides how ONNX Runtime is set up: as many threads as the server was given, which sleep while they wait
(spinning threads take the cores that the other server of the stack computes on).
"""

import gc
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from servers.embedding.artefacts import ONNX_FILE
from servers.embedding.pooling import Padded

_PROVIDER: Final = "CPUExecutionProvider"


@contextmanager
def _as_runtime_errors() -> Iterator[None]:
    """Give the library's errors, which share no class of their own, one that a `Graph` may raise."""
    try:
        yield
    except Exception as error:
        raise RuntimeError(f"ONNX Runtime: {error}") from error


class OnnxGraph:
    """A `Graph` in ONNX format, float32 or quantised to int8."""

    def __init__(self, folder: Path, threads: int) -> None:
        """Load the graph in `folder`. Raises `RuntimeError` with the library's reason if it does not load."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = str(folder / ONNX_FILE)
        with _as_runtime_errors():
            self._session: Any = onnxruntime.InferenceSession(path, options, providers=[_PROVIDER])

    @property
    def streams(self) -> int:
        """One part at a time, with all threads."""
        return 1

    def infer(self, parts: Sequence[Padded]) -> Generator[NDArray[np.float32], None, None]:
        """Yield the token vectors of each part."""
        for ids, mask in parts:
            with _as_runtime_errors():
                (hidden,) = self._session.run(None, {"input_ids": ids, "attention_mask": mask})
            yield np.asarray(hidden, dtype=np.float32)

    def close(self) -> None:
        """Free the session."""
        self._session = None
        gc.collect()
