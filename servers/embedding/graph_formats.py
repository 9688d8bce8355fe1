"""From one ONNX graph to what each runtime loads: OpenVINO's own format, and weights in int8.

It decides how weights are quantised: per output channel, symmetric, so that no activation statistics are
needed. Whether the result is accurate enough is not decided here but measured. Imports neither torch nor
transformers.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from servers.embedding.artefacts import ONNX_FILE, OPENVINO_FILE
from servers.embedding.openvino_engine import import_openvino
from servers.embedding.variants import Variant

_INT8_MOST: Final = 127.0


def convert(onnx: Path, variant: Variant, folder: Path) -> None:
    """Write the graph that `variant` loads into `folder`, from the float32 graph in `onnx`.

    Raises whatever the runtime's converter does for a graph that it cannot take.
    """
    _CONVERTERS[(variant.backend, "int8" if variant.dtype == "int8" else "float32")](onnx, folder)


def _copy_onnx(onnx: Path, folder: Path) -> None:
    (folder / ONNX_FILE).write_bytes(onnx.read_bytes())


def _quantise_onnx(onnx: Path, folder: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # the quantiser advises on the root logger, which is not ours to fill
    try:
        quantize_dynamic(onnx, folder / ONNX_FILE, weight_type=QuantType.QInt8, per_channel=True)
    finally:
        root.setLevel(level)


def _to_openvino(onnx: Path, folder: Path) -> None:
    openvino = import_openvino()
    model = openvino.Core().read_model(onnx)
    openvino.save_model(model, folder / OPENVINO_FILE, compress_to_fp16=False)


def _quantise_openvino(onnx: Path, folder: Path) -> None:
    openvino = import_openvino()
    model = openvino.Core().read_model(onnx)
    for node in list(model.get_ordered_ops()):
        if node.get_type_name() == "MatMul":
            _quantise_product(openvino, node)
    model.validate_nodes_and_infer_types()
    openvino.save_model(model, folder / OPENVINO_FILE, compress_to_fp16=False)


def _quantise_product(openvino: Any, node: Any) -> None:
    """Replace the weights of a product by int8 numbers and a scale per output channel, if it has weights."""
    source = node.input_value(1).get_node()
    if source.get_type_name() != "Constant" or len(source.shape) != 2:
        return
    opset = openvino.opset13
    attributes = node.get_attributes()
    weights = np.array(source.data, dtype=np.float32)
    rows = weights if attributes["transpose_b"] else weights.T
    scale = np.maximum(np.abs(rows).max(axis=1, keepdims=True) / _INT8_MOST, np.finfo(np.float32).tiny)
    numbers = opset.constant(np.ascontiguousarray(np.rint(rows / scale).astype(np.int8)))
    restored = opset.multiply(opset.convert(numbers, np.float32), opset.constant(scale.astype(np.float32)))
    product = opset.matmul(node.input_value(0), restored, attributes["transpose_a"], True)
    product.set_friendly_name(node.get_friendly_name())
    node.output(0).replace(product.output(0))


_CONVERTERS: Final[Mapping[tuple[str, str], Callable[[Path, Path], None]]] = MappingProxyType(
    {
        ("onnx", "float32"): _copy_onnx,
        ("onnx", "int8"): _quantise_onnx,
        ("openvino", "float32"): _to_openvino,
        ("openvino", "int8"): _quantise_openvino,
    }
)
