"""The options of the inference server: those of the doors, those of the embedding worker, and `aliases`."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Self

from pydantic import BeforeValidator, Field, model_validator

from servers.embedding.models import served_names, short_name
from servers.settings import EmbeddingSettings, ServerSettings

DEFAULT_PORTS: Final = range(5005, 5015)
"""The first free one is taken when no port is set (protocol.md section 1)."""


def _names(value: Any) -> Any:
    """Accept `aliases` as a list of names, or as a mapping from each name to the model it stands for."""
    if not isinstance(value, Mapping):
        return value
    return tuple((alias, model) for alias, model in value.items())


Alias = Annotated[str, Field(min_length=1, max_length=200)]


class InferenceSettings(ServerSettings, EmbeddingSettings):
    """The inference server: vectors for texts."""

    aliases: Annotated[tuple[Alias | tuple[Alias, Alias], ...], BeforeValidator(_names)] = Field(
        default=(), description="other names of the model for /v1, such as text-embedding-3-small"
    )

    @model_validator(mode="after")
    def _aliases_mean_the_model(self) -> Self:
        for alias in self.aliases:
            if isinstance(alias, tuple) and alias[1] not in (self.model, *self.model_names()):
                raise ValueError(
                    f"the alias {alias[0]!r} stands for {alias[1]!r}, but {self.model!r} is served"
                )
        return self

    def alias_names(self) -> tuple[str, ...]:
        """Return the extra names under which /v1 serves the model."""
        return tuple(alias if isinstance(alias, str) else alias[0] for alias in self.aliases)

    def model_names(self) -> tuple[str, ...]:
        """Return the names that the `model` option itself stands for."""
        return served_names(short_name(self.model))
