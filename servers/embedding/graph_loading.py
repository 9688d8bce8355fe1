"""From an artefact in the cache to an engine that serves it, without torch and without transformers."""

from servers.embedding.artefacts import TOKENIZER_FILE, ArtefactUnusable, read_artefact
from servers.embedding.graph_engine import Graph, GraphEngine, ModelCard, describe
from servers.embedding.selection import Wanted, artefact_folder
from servers.embedding.variants import Variant


def load_graph_engine(wanted: Wanted, variant: Variant, reason: str | None = None) -> GraphEngine:
    """Return the engine of `variant`, whose graph was exported before; `reason` is why it serves.

    Raises `ArtefactUnusable` when the artefact is missing, incomplete or does not load, `ImportError` when
    the runtime is not installed.
    """
    artefact = read_artefact(artefact_folder(wanted, variant))
    # The package's own name is imported late: importing this module must cost nothing.
    from tokenizers import Tokenizer

    open_graph = _open_openvino if variant.backend == "openvino" else _open_onnx
    try:
        card = ModelCard.from_json(artefact.card)
        tokenizer = Tokenizer.from_file(str(artefact.folder / TOKENIZER_FILE))
        graph = open_graph(wanted, variant)
    except ImportError:
        raise
    except Exception as error:
        # Readers of damaged files raise whatever they do (the tokenizer's is a bare Exception).
        raise ArtefactUnusable(f"{artefact.folder}: {error}") from error
    info = describe(card, wanted.name, variant.backend, variant.dtype, reason)
    return GraphEngine(graph, card, tokenizer, info)


def _open_openvino(wanted: Wanted, variant: Variant) -> Graph:
    from servers.embedding.openvino_engine import OpenVinoGraph

    return OpenVinoGraph(artefact_folder(wanted, variant), variant.dtype, wanted.threads)


def _open_onnx(wanted: Wanted, variant: Variant) -> Graph:
    from servers.embedding.onnx_engine import OnnxGraph

    return OnnxGraph(artefact_folder(wanted, variant), wanted.threads)
