"""Both graph runtimes are set up for a machine that other servers share."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from servers.embedding.artefacts import ArtefactUnusable, make_artefact
from servers.embedding.graph_loading import load_graph_engine
from servers.embedding.onnx_engine import OnnxGraph
from servers.embedding.openvino_engine import OpenVinoGraph, count_streams, import_openvino
from servers.embedding.selection import Wanted, artefact_folder
from servers.embedding.variants import Variant

pytestmark = pytest.mark.model

IDS = np.array([[101, 7592, 102]], dtype=np.int64)
MASK = np.ones_like(IDS)
FIRST_CONVERSION = """
import faulthandler, sys, threading
from servers.embedding.openvino_engine import import_openvino
faulthandler.dump_traceback_later(30, exit=True)
openvino = import_openvino()
sys.setswitchinterval(1e-6)
together = threading.Barrier(4)
def ask():
    together.wait()
    openvino.Type.f32.to_dtype()
threads = [threading.Thread(target=ask) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_openvino_computes_with_the_threads_it_is_given_and_pins_none(threads: int, exported: Wanted) -> None:
    """Two servers with a core each must not both use both, nor pin themselves to the same one."""
    graph = OpenVinoGraph(artefact_folder(exported, Variant("openvino", "float32")), "float32", threads)
    compiled = graph._compiled
    assert compiled.get_property("INFERENCE_NUM_THREADS") == threads
    assert compiled.get_property("ENABLE_CPU_PINNING") is False
    assert compiled.get_property("NUM_STREAMS") == graph.streams == threads
    graph.close()


@pytest.mark.parametrize("threads", [1, 2])
def test_onnx_runtime_computes_with_the_threads_it_is_given_and_lets_them_sleep(
    threads: int, exported: Wanted
) -> None:
    """Spinning threads would take the cores that the other server computes on."""
    graph = OnnxGraph(artefact_folder(exported, Variant("onnx", "float32")), threads)
    options = graph._session.get_session_options()
    assert options.intra_op_num_threads == threads
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    graph.close()


@pytest.mark.parametrize("attempt", range(4))
def test_the_first_conversion_may_be_made_by_several_threads(attempt: int) -> None:
    """Each core's part of the first batch is; without care three processes of four stood still for ever."""
    done = subprocess.run([sys.executable, "-c", FIRST_CONVERSION], timeout=60, check=False)
    assert done.returncode == 0


def test_a_bad_input_is_a_runtime_error_and_the_graph_goes_on(exported: Wanted) -> None:
    """A token id outside the vocabulary fails its batch; the next one is computed."""
    graph = OnnxGraph(artefact_folder(exported, Variant("onnx", "float32")), 1)
    with pytest.raises(RuntimeError, match="ONNX Runtime"):
        next(graph.infer([(IDS + 10_000_000, MASK)]))
    assert next(graph.infer([(IDS, MASK)])).shape == (1, 3, 384)
    graph.close()


def test_parts_left_behind_do_not_hinder_the_next_batch(exported: Wanted) -> None:
    """Whoever stops after the first part leaves nothing running that a later batch would meet."""
    graph = OpenVinoGraph(artefact_folder(exported, Variant("openvino", "float32")), "float32", 2)
    parts = [(np.tile(IDS, (rows, 1)), np.tile(MASK, (rows, 1))) for rows in (3, 2, 1)]
    left = graph.infer(parts)
    next(left)
    left.close()
    assert [len(hidden) for hidden in graph.infer(parts)] == [3, 2, 1]
    graph.close()


@pytest.mark.parametrize(("threads", "streams"), [(1, 1), (2, 2), (3, 2), (4, 2), (16, 8)])
def test_threads_are_dealt_to_streams_in_ones_and_then_in_twos(threads: int, streams: int) -> None:
    """Few threads in a stream wait little for each other; no stream is without one."""
    assert count_streams(threads) == streams


def test_openvino_comes_without_its_converter_and_telemetry() -> None:
    """Nothing is written into the home folder and nothing is reported to anybody."""
    import_openvino()
    assert not [name for name in sys.modules if name.startswith("openvino_telemetry")]


def test_compiled_code_that_does_not_load_is_compiled_again(exported: Wanted, tmp_path: Path) -> None:
    """What OpenVINO keeps beside the graph is only a shortcut: damaged, it costs half a second."""
    source = artefact_folder(exported, Variant("openvino", "float32"))
    for name in ("model.xml", "model.bin"):
        (tmp_path / name).symlink_to(source / name)
    OpenVinoGraph(tmp_path, "float32", 1).close()
    (compiled,) = (tmp_path / "compiled").glob("*.blob")
    compiled.chmod(0o600)
    compiled.write_bytes(b"not compiled code")
    graph = OpenVinoGraph(tmp_path, "float32", 1)
    assert np.isfinite(next(graph.infer([(IDS, MASK)]))).all()
    graph.close()


@pytest.mark.parametrize("backend", ["openvino", "onnx"])
def test_a_graph_that_does_not_load_is_an_unusable_artefact(
    backend: str, exported: Wanted, tmp_path: Path
) -> None:
    """A folder that is whole by its manifest but holds no graph is told apart from a bug."""
    wanted = Wanted(exported.model, exported.name, "auto", "high", "cpu", 1, tmp_path)
    variant = next(each for each in exported.candidates() if each.backend == backend)
    make_artefact(artefact_folder(wanted, variant), {}, lambda folder: None)
    with pytest.raises(ArtefactUnusable):
        load_graph_engine(wanted, variant)
