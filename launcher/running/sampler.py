"""When resource use is sampled: while somebody watches or a limit is set, and otherwise only when asked.

Decides the rhythm and turns a passed memory limit into an event. What a child uses is `usage`.
"""

from __future__ import annotations

import asyncio

from launcher.children.usage import UsageMeter
from launcher.lifecycle_values import LimitExceeded
from launcher.running.stack import Stack

__all__ = ["UsageSampler"]

_PERIOD_S = 2.0
_YOUNG_S = 0.2


class UsageSampler:
    """Keeps `usage` of each child as fresh as it is needed; lives on the loop's thread."""

    def __init__(self, stack: Stack) -> None:
        """Sample the children of `stack`; nothing runs before `wake` or `refresh`."""
        self._stack = stack
        self._meter = UsageMeter()
        self._handle: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def wake(self) -> None:
        """Sample regularly for as long as there is a reason to; idempotent."""
        if self._handle is None and self._is_needed():
            self._handle = self._loop.call_later(_PERIOD_S, self._tick)

    def refresh(self) -> None:
        """Sample now unless the last sample is still good; a child that it lacks makes it go bad sooner."""
        children = self._stack.children.values()
        lacks_one = any(child.tree is not None and child.usage is None for child in children)
        sampled_at = self._meter.sampled_at
        age_s = None if sampled_at is None else self._loop.time() - sampled_at
        if age_s is None or age_s >= (_YOUNG_S if lacks_one else _PERIOD_S):
            self._sample()

    def close(self) -> None:
        """Sample no more."""
        if self._handle is not None:
            self._handle.cancel()

    def _is_needed(self) -> bool:
        children = self._stack.children.values()
        is_limited = any(child.service.limits.memory_bytes is not None for child in children)
        return is_limited or self._stack.publisher.has_subscribers

    def _tick(self) -> None:
        self._handle = None
        self._sample()
        self.wake()

    def _sample(self) -> None:
        leaders = {name: child.tree.pid for name, child in self._stack.children.items() if child.tree}
        found = self._meter.sample(leaders, self._loop.time())
        for name, child in self._stack.children.items():
            child.usage = found.get(name)
            limit = child.service.limits.memory_bytes
            if limit is not None and child.usage is not None and child.usage.rss_bytes > limit:
                text = f"uses {child.usage.rss_bytes:,} bytes of memory; its limit is {limit:,}"
                self._stack.post(name, LimitExceeded(child.life.generation, text))
