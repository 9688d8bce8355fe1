"""What the groups of commands of the memory server share: the memories, the limits, the counts in a reply.

It decides nothing about any command; `handlers`, `upkeep` and `transfers` do.
"""

from typing import Any

from servers.embedding.worker import EmbeddingWorker
from servers.memory.jobs import Outcome
from servers.memory.limits import Limits
from servers.memory.memories import Memories
from servers.memory.settings import MemorySettings
from servers.memory.wire import counts_object

Payload = dict[str, Any]
"""What a command answers, before it is written as JSON."""


class CommandGroup:
    """Commands over one `Memories`, within the limits of the settings."""

    def __init__(self, settings: MemorySettings, memories: Memories, worker: EmbeddingWorker) -> None:
        self._settings = settings
        self._memories = memories
        self._worker = worker
        self._limits = Limits(settings)

    def _counts(self, outcome: Outcome) -> Payload:
        """The counts after a change, as every reply to one carries them."""
        return counts_object(outcome, self._settings.significance_threshold, self._worker.info.device)
