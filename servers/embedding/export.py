"""From a loaded sentence-transformers model to an ONNX graph, offline, on this machine.

It decides which models have a graph (one transformer, one simple pooling, perhaps a normalisation) and what
the graph computes: token vectors only, because pooling stays outside, in float32. Imports torch; only the
preparing process does.

Attention is traced from torch's fused form, and OpenVINO reads the same ONNX file: in bfloat16 that gives a
text the same vector in every batch, bit for bit, which the eager form and OpenVINO's own converter do not
(their vectors move by 7e-4).
"""

import warnings
from pathlib import Path
from typing import Any, Final, get_args

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

from servers.embedding.graph_engine import ModelCard
from servers.embedding.models import ModelFiles, read_matryoshka
from servers.embedding.pooling import PoolingMode
from servers.embedding.torch_engine import read_text_side

_OPSET: Final = 18
_INPUTS: Final = ("input_ids", "attention_mask")
_OUTPUT: Final = "token_embeddings"


class NotExportable(Exception):
    """The model needs more than a transformer and a pooling; the text says what. torch serves it."""


def read_card(model: SentenceTransformer, files: ModelFiles) -> ModelCard:
    """Return what a graph of `model` cannot hold. Raises `NotExportable`."""
    modules = list(model.children())
    while modules and isinstance(modules[-1], Normalize):
        modules.pop()
    names = " + ".join(type(module).__name__ for module in modules)
    if len(modules) != 2 or not isinstance(modules[0], Transformer) or not isinstance(modules[1], Pooling):
        raise NotExportable(f"the model's modules are {names}, not Transformer + Pooling")
    if modules[0].transformer_task != "feature-extraction":
        raise NotExportable(f"the model's task is {modules[0].transformer_task}")
    pooling = modules[1]
    side = read_text_side(model)
    if pooling.pooling_mode not in get_args(PoolingMode):
        raise NotExportable(f"the model's pooling mode is {pooling.pooling_mode}")
    if side.pads_left:
        raise NotExportable("the model's texts are padded on the left")
    if side.prompt and not pooling.include_prompt:
        raise NotExportable("the model's prompt is left out of pooling")
    matryoshka = read_matryoshka(files.path)
    return ModelCard(
        dimensions=int(model.get_embedding_dimension() or 0),
        max_input_tokens=side.max_tokens,
        pad_id=side.pad_id,
        pooling=pooling.pooling_mode,
        prompt=side.prompt,
        matryoshka=matryoshka.trained,
        matryoshka_dimensions=matryoshka.dimensions,
    )


def write_onnx(model: SentenceTransformer, path: Path) -> None:
    """Write the transformer of `model`, which `read_card` accepted, as a float32 ONNX graph to `path`.

    Batch and width stay free. Raises whatever torch's exporter does for a model that it cannot trace.
    """
    transformer = _TokenVectors(model[0].auto_model).eval()
    # Widths and padding that differ per row, so that neither is folded into the graph as a constant.
    ids = torch.arange(3 * 11).reshape(3, 11) % 97 + 1
    mask = (torch.arange(11) < torch.tensor([[11], [5], [7]])).to(torch.int64)
    with warnings.catch_warnings():
        # The tracing exporter warns of its age and of every Python branch that it freezes; what comes of
        # them is measured against the reference afterwards. The newer one needs two packages more.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            transformer,
            (ids, mask),
            str(path),
            input_names=list(_INPUTS),
            output_names=[_OUTPUT],
            dynamic_axes={name: {0: "texts", 1: "width"} for name in (*_INPUTS, _OUTPUT)},
            opset_version=_OPSET,
            dynamo=False,
        )


class _TokenVectors(torch.nn.Module):
    """A transformer with the two inputs and the one output that the graph has."""

    def __init__(self, transformer: Any) -> None:
        super().__init__()
        self._transformer = transformer

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return the token vectors."""
        output = self._transformer(input_ids=input_ids, attention_mask=attention_mask, return_dict=True)
        vectors: torch.Tensor = output.last_hidden_state
        return vectors
