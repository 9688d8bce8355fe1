"""From settings to a loaded engine; the only place that knows which engines exist.

It decides the phases of loading, that what was chosen before is loaded at once, and that torch serves
whenever preparing a leaner engine is not possible. It keeps the libraries off the network unless the user
allows a download. Runs on the model thread, because its imports and reads take seconds.
"""

import logging
import os

from servers.embedding.artefacts import ArtefactUnusable
from servers.embedding.debug_engine import DebugEngine
from servers.embedding.engine import Engine, OnPhase
from servers.embedding.models import ModelFiles, download, find_model, short_name
from servers.embedding.preparing import PreparationFailed, run_preparation
from servers.embedding.selection import Wanted, forget, recall
from servers.embedding.surroundings import LIBRARY_ENVIRONMENT
from servers.embedding.variants import REFERENCE, Choice
from servers.errors import BadSettings, ModelMissing
from servers.settings import EmbeddingSettings

logger = logging.getLogger(__name__)

_INSTALL = "Install it with pip install 'lucid-launch[cpu]', or set `backend: auto`."


def load_engine(settings: EmbeddingSettings, on_phase: OnPhase) -> Engine:
    """Return the engine that `settings` ask for, reporting `import` and `load-model`.

    At the first start for a model and machine also `export` and `measure`, and `download` if the model has
    to come from the hub. Raises `ModelMissing` or `BadSettings`.
    """
    if settings.backend == "debug":
        return DebugEngine(short_name(settings.model))
    files = _obtain(settings, on_phase)
    for name, value in LIBRARY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    wanted = Wanted.read(settings, files, os.environ)
    if not wanted.candidates():
        raise BadSettings(
            f"`backend: {settings.backend}` is not installed, or not for `device: {settings.device}`",
            where="options.backend",
            mend=_INSTALL,
        )
    if wanted.is_plain():
        return _load(wanted, plain_choice(wanted), on_phase)
    return _load_chosen(wanted, on_phase)


def plain_choice(wanted: Wanted, why: str = "nothing else was asked for or is installed") -> Choice:
    """Return torch in float32, which needs neither export nor measuring."""
    return Choice(REFERENCE, wanted.device, why)


def _load_chosen(wanted: Wanted, on_phase: OnPhase) -> Engine:
    """Load what was chosen before; choose first if nothing was, or if it does not load any more."""
    try:
        wanted.folder.mkdir(parents=True, exist_ok=True)
        remembered = recall(wanted)
        if remembered is not None:
            try:
                return _load(wanted, remembered, on_phase)
            except (ArtefactUnusable, ImportError) as error:
                logger.warning("%s cannot be loaded and is made anew: %s", remembered.variant, error)
                forget(wanted)
        return _load(wanted, run_preparation(wanted, on_phase), on_phase)
    except (PreparationFailed, ArtefactUnusable, OSError) as error:
        if wanted.backend not in ("auto", "torch"):
            raise BadSettings(
                f"`backend: {wanted.backend}` cannot be prepared: {error}",
                where=f"the cache of exported models, {wanted.cache}",
                mend="Set `engine_cache` to a folder that can be written, or `backend: torch`.",
            ) from error
        logger.warning("no leaner engine could be prepared, torch serves in float32: %s", error)
        return _load(wanted, plain_choice(wanted, f"nothing else could be prepared: {error}"), on_phase)


def _load(wanted: Wanted, choice: Choice, on_phase: OnPhase) -> Engine:
    on_phase("import", 0.0)
    if choice.variant.backend == "torch":
        from servers.embedding.torch_engine import load_torch_engine

        on_phase("load-model", 0.6)
        engine: Engine = load_torch_engine(
            wanted.files,
            choice.device,
            wanted.threads,
            wanted.vram_bytes,
            dtype=choice.variant.dtype,
            reason=choice.reason,
        )
    else:
        from servers.embedding.graph_loading import load_graph_engine

        on_phase("load-model", 0.5)
        engine = load_graph_engine(wanted, choice.variant, choice.reason)
    logger.info("embedding with %s on %s: %s", choice.variant, choice.device, choice.reason)
    return engine


def _obtain(settings: EmbeddingSettings, on_phase: OnPhase) -> ModelFiles:
    try:
        return find_model(settings.model)
    except ModelMissing:
        if not settings.download:
            raise
    on_phase("download", None)
    return download(settings.model, lambda share: on_phase("download", share))
