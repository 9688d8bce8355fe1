"""From a loaded model to the artefacts of the variants that need one, each of them whole or not at all.

It decides that one ONNX export serves all variants and that a variant which cannot be made is lost with its
reason, never the preparation. Imports torch.
"""

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sentence_transformers import SentenceTransformer

from servers.embedding.artefacts import TOKENIZER_FILE, ArtefactUnusable, make_artefact, read_artefact
from servers.embedding.export import NotExportable, read_card, write_onnx
from servers.embedding.graph_engine import ModelCard
from servers.embedding.graph_formats import convert
from servers.embedding.selection import Wanted, artefact_folder
from servers.embedding.torch_engine import read_text_side
from servers.embedding.variants import Variant

logger = logging.getLogger(__name__)

_ONNX_NAME: Final = "float32.onnx"


def export_variants(
    model: SentenceTransformer, wanted: Wanted, variants: Sequence[Variant]
) -> dict[Variant, str]:
    """Make the artefacts of `variants` that are not there yet; return why each variant without one has none.

    Only for the process that holds the model's folder. Raises `OSError` when the cache cannot be written.
    """
    graphs = [variant for variant in variants if variant.backend != "torch"]
    missing = [variant for variant in graphs if not _has_artefact(wanted, variant)]
    if not missing:
        return {}
    wanted.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=wanted.folder, prefix=".export-") as folder:
        onnx = Path(folder) / _ONNX_NAME
        try:
            card = read_card(model, wanted.files)
            write_onnx(model, onnx)
        except NotExportable as error:
            return dict.fromkeys(missing, str(error))
        except Exception as error:
            # The exporter raises whatever the model's code does under tracing; torch serves such a model.
            logger.warning("the model cannot be exported", exc_info=error)
            return dict.fromkeys(missing, f"the model cannot be exported: {type(error).__name__}")
        return _make_all(model, wanted, missing, onnx, card)


def _make_all(
    model: SentenceTransformer, wanted: Wanted, variants: Sequence[Variant], onnx: Path, card: ModelCard
) -> dict[Variant, str]:
    failures: dict[Variant, str] = {}
    for variant in variants:
        if _has_artefact(wanted, variant):
            continue  # float32 and bfloat16 share one graph
        try:
            _make(model, wanted, variant, onnx, card)
        except OSError:
            raise
        except Exception as error:
            # A converter that cannot take this graph loses one variant, not the start.
            logger.warning("%s cannot be made", variant, exc_info=error)
            failures[variant] = f"it cannot be converted: {type(error).__name__}"
    return failures


def _make(model: SentenceTransformer, wanted: Wanted, variant: Variant, onnx: Path, card: ModelCard) -> None:
    def fill(folder: Path) -> None:
        read_text_side(model).tokenizer.save(str(folder / TOKENIZER_FILE))
        convert(onnx, variant, folder)

    make_artefact(artefact_folder(wanted, variant), card.to_json(), fill)


def _has_artefact(wanted: Wanted, variant: Variant) -> bool:
    try:
        read_artefact(artefact_folder(wanted, variant))
    except ArtefactUnusable:
        return False
    return True
