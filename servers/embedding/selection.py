"""Which engine a server is to load: what was asked for, what is possible here, what was found out before.

It decides what makes a remembered choice valid and where the artefacts of a variant lie. It is the one
vocabulary that the server and its preparing process share; it measures nothing and imports nothing heavy.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from servers.embedding.artefacts import EXPORT_FORMAT, cache_folder, model_folder, write_json
from servers.embedding.machine import (
    cpu_threads,
    describe_machine,
    has_bfloat16,
    installed_backends,
    library_version,
    may_have_cuda,
)
from servers.embedding.models import ModelFiles
from servers.embedding.variants import REFERENCE, Accuracy, Choice, Variant, candidates
from servers.settings import EmbeddingSettings

_DISTRIBUTIONS = {"openvino": "openvino", "onnx": "onnxruntime", "torch": "torch"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a server asks for, resolved as far as that goes without loading a library.

    `device` is auto, cpu, cuda or cuda:N; auto becomes cpu where no GPU can be seen. `threads` is the number
    of CPU threads to measure and compute with; `cache` the folder of all artefacts.
    """

    model: Path
    name: str
    backend: str
    accuracy: Accuracy
    device: str
    threads: int
    cache: Path
    vram_bytes: int | None = None

    @classmethod
    def read(cls, settings: EmbeddingSettings, files: ModelFiles, environ: Mapping[str, str]) -> Self:
        """Return what `settings` ask for on this machine, for the model in `files`."""
        device = settings.device
        if device == "auto" and (not may_have_cuda(environ) or settings.backend in ("openvino", "onnx")):
            device = "cpu"
        return cls(
            model=files.path,
            name=files.name,
            backend=settings.backend,
            accuracy=settings.accuracy,
            device=device,
            threads=cpu_threads(settings.threads, environ),
            cache=cache_folder(settings.engine_cache, environ),
            vram_bytes=settings.vram_bytes,
        )

    @property
    def files(self) -> ModelFiles:
        """The model's files, found before."""
        return ModelFiles(self.model, self.name, "folder")

    @property
    def folder(self) -> Path:
        """The folder of everything that was made from the model's files. Raises `OSError`."""
        return model_folder(self.cache, self.files)

    def candidates(self, device: str | None = None) -> tuple[Variant, ...]:
        """Return the variants to choose from on `device` (default: what is known of it by now)."""
        return candidates(
            self.backend,
            self.accuracy,
            installed=installed_backends(),
            on_cuda=(device or self.device) != "cpu",
            has_bfloat16=has_bfloat16(),
        )

    def is_plain(self) -> bool:
        """Tell whether there is nothing to choose and nothing to export: torch in float32 it is."""
        return self.candidates() == (REFERENCE,)

    def to_json(self) -> str:
        """Return the request as one line of JSON, for the preparing process."""
        return json.dumps(asdict(replace(self, model=self.model.absolute())), default=str)

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Return the request that `to_json` wrote."""
        fields = json.loads(line)
        return cls(**{**fields, "model": Path(fields["model"]), "cache": Path(fields["cache"])})


def artefact_folder(wanted: Wanted, variant: Variant) -> Path:
    """Return where the graph of `variant` lies once it was exported.

    The name holds the engine's version, since graphs and compiled code are only sure to load into that one.
    """
    version = library_version(_DISTRIBUTIONS[variant.backend])
    numbers = "int8" if variant.dtype == "int8" else "float32"
    return wanted.folder / f"{variant.backend}-{numbers}-{version}-{EXPORT_FORMAT}"


def recall(wanted: Wanted) -> Choice | None:
    """Return the choice made earlier for the same request on the same machine, or None."""
    try:
        noted = json.loads(_choice_file(wanted).read_text("utf-8"))
        return Choice.from_json(noted["choice"]) if noted["key"] == _key(wanted) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # nothing usable is remembered: it is found out anew


def remember(wanted: Wanted, choice: Choice) -> None:
    """Keep `choice` for the next start. Raises `OSError`."""
    write_json(_choice_file(wanted), {"key": _key(wanted), "choice": choice.to_json()})


def forget(wanted: Wanted) -> None:
    """Drop what is remembered, so that the next preparation measures again. Raises `OSError`."""
    _choice_file(wanted).unlink(missing_ok=True)


def prune(wanted: Wanted) -> None:
    """Remove the artefacts that no remembered choice needs: those of the losers and of older versions.

    Only for the process that holds the model's folder. A server that has one of them open keeps its files.
    """
    needed: set[Path] = set()
    for file in wanted.folder.glob("choice-*.json"):
        try:
            choice = Choice.from_json(json.loads(file.read_text("utf-8"))["choice"])
        except (OSError, ValueError, KeyError, TypeError):
            continue  # unusable, so it keeps nothing
        needed.add(artefact_folder(wanted, choice.variant))
    for folder in wanted.folder.iterdir():
        if folder.is_dir() and folder not in needed:
            shutil.rmtree(folder, ignore_errors=True)


def _key(wanted: Wanted) -> dict[str, Any]:
    return {
        "backend": wanted.backend,
        "accuracy": wanted.accuracy,
        "device": wanted.device,
        "visible_gpus": os.environ.get("CUDA_VISIBLE_DEVICES") if wanted.device != "cpu" else None,
        "format": EXPORT_FORMAT,
        "machine": describe_machine(),
    }


def _choice_file(wanted: Wanted) -> Path:
    text = json.dumps(_key(wanted), sort_keys=True)
    return wanted.folder / f"choice-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
