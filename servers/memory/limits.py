"""How much one memory may hold: text, metadata, vector (protocol.md section 3, `too_large`).

Pure. It decides what is refused and says by how much; it does not know which command brought it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from servers.errors import InvalidRequest, TooLarge
from servers.memory.settings import MemorySettings
from servers.protocol import require_length


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that the settings name."""

    settings: MemorySettings

    def check(self, text: str, metadata: Mapping[str, Any], prefix: str = "") -> None:
        """Raise TooLarge for a text or metadata beyond the limits; `prefix` leads to the fields."""
        require_length(text, self.settings.max_text_chars, field_name=f"{prefix}text")
        limit = self.settings.max_metadata_bytes
        size = len(orjson.dumps(metadata))
        if size > limit:
            raise TooLarge(
                f"{prefix}metadata: at most {limit} bytes of JSON are accepted; got {size}. Keep what is "
                "large elsewhere, and store where it is.",
                details={"field": f"{prefix}metadata", "limit_bytes": limit, "got_bytes": size},
            )

    def check_vector(self, embedding: Sequence[float], dimensions: int, prefix: str = "") -> None:
        """Raise InvalidRequest for a vector of other than the model's dimensions."""
        if len(embedding) != dimensions:
            raise InvalidRequest(
                f"{prefix}embedding: must have {dimensions} numbers, as the model's vectors do; got "
                f"{len(embedding)}.",
                details={"field": f"{prefix}embedding", "allowed": dimensions, "got": len(embedding)},
            )
