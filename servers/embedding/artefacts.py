"""The cache of exported models: where artefacts lie, what makes them valid, and how they come to be whole.

It decides the folder names (model and content hash, then engine, number format and version), that an artefact
appears by one rename or not at all, and that it is believed only while its manifest fits its files. It knows
neither engines nor how anything is exported. No heavy import: a lean start reads artefacts through it.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from servers.embedding.models import ModelFiles

EXPORT_FORMAT: Final = 1
"""Part of every artefact's name; raised when the exporter writes something else than before."""

TOKENIZER_FILE: Final = "tokenizer.json"
ONNX_FILE: Final = "model.onnx"
OPENVINO_FILE: Final = "model.xml"
_MANIFEST: Final = "manifest.json"
_MODEL_PATTERNS: Final = ("*.json", "*.safetensors", "*.bin", "*.txt", "*.model", "*.py")
_FOREIGN_FOLDERS: Final = ("onnx", "openvino", ".git", "__pycache__")


class ArtefactUnusable(Exception):
    """An artefact is missing, incomplete or from another format; exporting it again is the mend."""


@dataclass(frozen=True, slots=True)
class Artefact:
    """A whole artefact: its folder, and what its maker noted beside the files (`card`)."""

    folder: Path
    card: dict[str, Any]


def cache_folder(option: Path | None, environ: Mapping[str, str]) -> Path:
    """Return where exported models are kept: `option`, else lucid-launch's part of the user's cache."""
    if option is not None:
        return option.expanduser()
    home = environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "lucid-launch" / "engines"


def model_folder(cache: Path, files: ModelFiles) -> Path:
    """Return the folder of everything that was made from exactly these model files; it may not exist yet.

    The files' content is hashed once; later calls trust it while names, sizes and times stay the same.
    Raises `OSError` when the files or the cache cannot be read.
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", files.name).strip("-.") or "model"
    return cache / f"{name}-{_digest(cache, files.path)}"


def read_artefact(folder: Path) -> Artefact:
    """Return the artefact in `folder`. Raises `ArtefactUnusable` when its files do not fit its manifest."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text("utf-8"))
        for name, size_bytes in manifest["bytes"].items():
            if (folder / name).stat().st_size != size_bytes:
                raise ArtefactUnusable(f"{folder / name} has another size than when it was made")
        return Artefact(folder, dict(manifest["card"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtefactUnusable(f"{folder}: {error!r}") from error


def make_artefact(folder: Path, card: Mapping[str, Any], fill: Callable[[Path], None]) -> Artefact:
    """Let `fill` write the files into an empty folder, then make it appear as `folder` in one step.

    What was there before is replaced. Everything is on disk before the name is. Raises what `fill` raises
    and `OSError`; the unfinished folder is removed.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        fill(unfinished)
        sizes = {path.name: path.stat().st_size for path in sorted(unfinished.iterdir()) if path.is_file()}
        manifest = {"bytes": sizes, "card": dict(card)}
        (unfinished / _MANIFEST).write_text(json.dumps(manifest, indent=2), "utf-8")
        for path in unfinished.iterdir():
            _sync(path)
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
        _sync(folder.parent)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return read_artefact(folder)


def write_json(path: Path, value: object) -> None:
    """Write `value` to `path` as JSON, so that a reader sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, unfinished = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    Path(unfinished).rename(path)


@contextmanager
def exclusive(folder: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the one right to make artefacts in `folder`; `on_wait` is called if another process has it now.

    The right ends with the process that holds it, however that ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(cache: Path, model: Path) -> str:
    paths = _model_files(model)
    stats = [(str(path.relative_to(model)), path.stat()) for path in paths]
    signature = [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]
    known = cache / "digests" / f"{hashlib.sha256(str(model.resolve()).encode()).hexdigest()[:16]}.json"
    try:
        noted = json.loads(known.read_text("utf-8"))
        if noted["files"] == signature:
            return str(noted["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # nothing usable is noted: the content is read below and noted again
    digest = _hash_files(model, paths)
    write_json(known, {"model": str(model), "files": signature, "digest": digest})
    return digest


def _model_files(model: Path) -> list[Path]:
    found = {path for pattern in _MODEL_PATTERNS for path in model.rglob(pattern) if path.is_file()}
    return sorted(path for path in found if not set(path.relative_to(model).parts) & set(_FOREIGN_FOLDERS))


def _hash_files(model: Path, paths: list[Path]) -> str:
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{path.relative_to(model)}\0{content}\n".encode())
    return total.hexdigest()[:16]
