"""The options of the memory server, and what `--check-options` finds beyond their shape.

It decides their names, ranges and defaults (documented with their source in protocol.md section 4); it
imports nothing heavy, since the launcher runs it before every start.
"""

import os
import shlex
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Final

from pydantic import ByteSize, Field, SecretStr, field_validator

from servers.embedding.models import find_model
from servers.errors import BadSettings, ModelMissing
from servers.memory.scoring import DAY_MS, HALF_LIFE_DAYS, RankWeights, Rules, SignificanceWeights
from servers.scoring_terms import INFORMATION_WEIGHT, SURPRISE_WEIGHT
from servers.settings import EmbeddingSettings, OptionProblem, ServerSettings

DEFAULT_PORTS: Final = (5000,)
"""The memory server has one port, which every client knows (protocol.md section 1)."""


EXTRAS: Final = MappingProxyType(
    {"store": ("psycopg", "psycopg[binary]>=3.3,<4"), "mcp": ("mcp", "mcp>=2.3,<3")}
)
"""The option that needs it: a module that `./lucid` does not install, and what pip is told to get it."""


class MemorySettings(ServerSettings, EmbeddingSettings):
    """The memory server's options."""

    path: Path = Field(default=Path("data/memory"), description="the folder that holds the memories")
    store: SecretStr | None = Field(
        default=None, description="postgresql://user@host/database; None: SQLite in `path`"
    )
    keyword_search: bool = Field(default=False, description="also index words, for `retrieve` with match")
    mcp: bool | None = Field(
        default=None,
        description="serve the Model Context Protocol at /mcp; None: where its package is installed, which "
        "is then imported for the first client",
    )
    significance_threshold: float = Field(
        default=0.7, ge=0, le=1, description="from here a memory counts as active"
    )
    duplicate_similarity: float = Field(default=0.995, gt=0, le=1, description="cosine of a duplicate")
    half_life_days: float = Field(default=HALF_LIFE_DAYS, gt=0, le=1e6, description="age that halves recency")
    surprise_weight: float = Field(default=SURPRISE_WEIGHT, ge=0, le=1, description="in significance")
    information_weight: float = Field(default=INFORMATION_WEIGHT, ge=0, le=1, description="in significance")
    relevance_weight: float = Field(default=0.6, ge=0, le=100, description="in the ranking of a query")
    significance_weight: float = Field(default=0.25, ge=0, le=100, description="in the ranking of a query")
    recency_weight: float = Field(default=0.15, ge=0, le=100, description="in the ranking of a query")
    undo_days: float = Field(
        default=30.0, ge=0, le=36_500, description="days until what was deleted is removed for good"
    )
    max_metadata_bytes: int = Field(default=256 << 10, ge=2, description="larger metadata is too_large")
    max_memories: int | None = Field(default=None, ge=1, description="memories the store may hold; None: any")
    max_namespaces: int | None = Field(default=None, ge=1, description="namespaces it may have; None: any")
    ballast_bytes: int = Field(
        default=64 << 20, ge=0, description="space kept for a full disk, given up so that deleting goes on"
    )
    index_memory: ByteSize | None = Field(
        default=None,
        ge=16 << 20,
        description="memory that the search index keeps to, such as 512MiB; what does not fit lies in files "
        "under `path`; None: as much as it needs",
    )
    write_queue_rows: int = Field(default=8192, ge=1, description="memories that may wait for their commit")

    @field_validator("store")
    @classmethod
    def _store_is_postgresql(cls, store: SecretStr | None) -> SecretStr | None:
        if store is not None and not store.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError("must begin with postgresql://; leave it out for SQLite in the folder `path`")
        return store

    @property
    def serves_mcp(self) -> bool:
        """Whether there is an MCP door."""
        return find_spec(EXTRAS["mcp"][0]) is not None if self.mcp is None else self.mcp

    @property
    def index_folder(self) -> Path:
        """Where the index keeps files that can be made again."""
        return self.path.expanduser() / "index"

    @property
    def rank_weights(self) -> RankWeights:
        """The shares of a memory's score for a query."""
        return RankWeights(self.relevance_weight, self.significance_weight, self.recency_weight)

    @property
    def rules(self) -> Rules:
        """The numbers that new memories are scored by."""
        weights = SignificanceWeights(self.surprise_weight, self.information_weight)
        return Rules(weights, self.significance_threshold, self.duplicate_similarity)

    @property
    def undo_ms(self) -> int:
        """How long what was deleted can be brought back, in milliseconds."""
        return int(self.undo_days * DAY_MS)

    @property
    def half_life_ms(self) -> float:
        """The age that halves recency, in milliseconds."""
        return self.half_life_days * DAY_MS


def find_problems(settings: MemorySettings) -> Sequence[OptionProblem]:
    """Return what is wrong with valid options on this machine: no such model, no usable folder."""
    return [
        *_model_problems(settings),
        *_path_problems(settings.path.expanduser()),
        *_extra_problems(settings),
    ]


def _model_problems(settings: MemorySettings) -> list[OptionProblem]:
    if settings.backend == "debug" or settings.download:
        return []
    try:
        find_model(settings.model)
    except ModelMissing as error:
        return [OptionProblem(("model",), "model_missing", error.what, error.mend)]
    return []


def _path_problems(path: Path) -> list[OptionProblem]:
    existing = next(part for part in (path, *path.absolute().parents) if part.exists())
    if not existing.is_dir():
        return [OptionProblem(("path",), "invalid", f"{existing} is a file, not a folder", "name a folder")]
    if not os.access(existing, os.W_OK | os.X_OK):
        mend = "choose a folder that this user may write to"
        return [OptionProblem(("path",), "invalid", f"{existing} cannot be written", mend)]
    return []


def require_extras(settings: MemorySettings) -> None:
    """Raise BadSettings when an option needs a package that is not installed, and say how to get it."""
    for problem in _extra_problems(settings):
        raise BadSettings(f"{problem.loc[0]}: {problem.message}", where="options", mend=problem.hint)


def _extra_problems(settings: MemorySettings) -> list[OptionProblem]:
    needed = ["store"] if settings.store is not None else []
    needed += ["mcp"] if settings.mcp else []
    return [
        OptionProblem(
            (option,), "invalid", f"needs a package that is not installed: {module}", _mend(package)
        )
        for option, (module, package) in EXTRAS.items()
        if option in needed and find_spec(module) is None
    ]


def _mend(package: str) -> str:
    # The very interpreter of this server: where several are installed, pip alone may be another one's.
    return f"{shlex.quote(sys.executable)} -m pip install {shlex.quote(package)}"
