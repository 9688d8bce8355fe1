"""From settings to a loaded engine; the only place that knows which engines exist.

It decides the phases of loading and keeps the libraries off the network unless the user allows a download.
Runs on the model thread, because its imports and reads take seconds.
"""

import os
from types import MappingProxyType
from typing import Final

from servers.embedding.debug_engine import DebugEngine
from servers.embedding.engine import Engine, OnPhase
from servers.embedding.models import ModelFiles, download, find_model, short_name
from servers.errors import ModelMissing
from servers.settings import EmbeddingSettings

LIBRARY_ENVIRONMENT: Final = MappingProxyType(
    {
        # The libraries look for updates and remote code even for local folders unless told not to.
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        # OpenMP's threads spin while they wait. Where another process wants the same cores, which is the rule
        # with two servers on one machine, every barrier then lasts a time slice: forwards of 9 ms took 200 to
        # 900 ms. Sleeping costs 6 ms of a lone forward and keeps the worst near the best.
        "OMP_WAIT_POLICY": "PASSIVE",
    }
)
"""What the model's libraries are told through the environment, unless the user has said otherwise."""


def load_engine(settings: EmbeddingSettings, on_phase: OnPhase) -> Engine:
    """Return the engine that `settings` ask for, reporting `import` and `load-model` (and `download`).

    Raises `ModelMissing` or `BadSettings`.
    """
    if settings.backend == "debug":
        return DebugEngine(short_name(settings.model))
    files = _obtain(settings, on_phase)
    for name, value in LIBRARY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    on_phase("import", 0.0)
    from servers.embedding.torch_engine import load_torch_engine

    on_phase("load-model", 0.6)
    return load_torch_engine(files, settings.device, settings.threads, settings.vram_bytes)


def _obtain(settings: EmbeddingSettings, on_phase: OnPhase) -> ModelFiles:
    try:
        return find_model(settings.model)
    except ModelMissing:
        if not settings.download:
            raise
    on_phase("download", None)
    return download(settings.model)
