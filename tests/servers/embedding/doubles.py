"""Doubles of the embedding tests: an engine that waits, fails and remembers on demand."""

import asyncio
import threading
from collections.abc import Sequence

import numpy as np

from servers.embedding.debug_engine import DebugEngine
from servers.embedding.engine import EngineBroken, EngineOutOfMemory, Tokens, Vectors

PATIENCE_S = 20.0


class ScriptedEngine(DebugEngine):
    """A debug engine whose forwards can be held, seen, and made to fail for texts that contain a word.

    `poison` raises for its batch, `nan` gives NaN, `huge` runs out of memory in company, `broken` loses the
    device.
    """

    def __init__(self) -> None:
        """Start with the gate open."""
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.batches: list[list[str]] = []
        self.threads: set[int] = set()
        self.is_closed = False
        self._texts: dict[bytes, str] = {}

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokenise, remembering which text the tokens came from."""
        tokens = super().tokenize(texts)
        self._texts.update((each.ids.tobytes(), text) for each, text in zip(tokens, texts, strict=True))
        return tokens

    def forward(self, batch: Sequence[Tokens]) -> Vectors:
        """Announce the batch, wait for the gate, then compute or fail as the texts say."""
        texts = [self._texts[each.ids.tobytes()] for each in batch]
        self.threads.add(threading.get_ident())
        self.batches.append(texts)
        self.entered.release()
        assert self.gate.wait(PATIENCE_S), "the test never opened the gate"
        if any("poison" in text for text in texts):
            raise ValueError("poison")
        if any("broken" in text for text in texts):
            raise EngineBroken("the device is lost")
        if len(texts) > 1 and any("huge" in text for text in texts):
            raise EngineOutOfMemory("too big")
        vectors = super().forward(batch)
        vectors[["nan" in text for text in texts]] = np.nan
        return vectors

    def close(self) -> None:
        """Remember that it was closed."""
        self.is_closed = True

    async def wait_for_forward(self) -> None:
        """Return once one more forward has begun."""
        assert await asyncio.to_thread(self.entered.acquire, timeout=PATIENCE_S), "no forward began"

    def forget(self) -> None:
        """Forget the batches so far, such as those of the warm-up."""
        self.batches.clear()
        while self.entered.acquire(blocking=False):
            pass


def always_failing(batch: object) -> Vectors:
    """Stand in for `forward` on a device that is gone."""
    raise RuntimeError("the device is gone")
