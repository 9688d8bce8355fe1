"""Where the time of one request went, for a client that asks with `timing: true` (protocol.md §3).

Decides how stages are named and rounded on the wire. Pure: durations are given to it. It does not know which
stages a command has.
"""

from __future__ import annotations

__all__ = ["Stages"]

_DIGITS = 3  # microseconds: finer than any of the clocks is steady


class Stages:
    """The stages of one request, in the order in which they were first noted."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def note(self, stage: str, seconds: float) -> None:
        """Adds the seconds that a stage took; a stage that runs several times is summed."""
        self._seconds[stage] = self._seconds.get(stage, 0.0) + seconds

    def document(self, total_s: float) -> dict[str, float]:
        """`<stage>_ms` of every stage, then `total_ms` for `total_s`: milliseconds."""
        named = {f"{stage}_ms": round(seconds * 1000, _DIGITS) for stage, seconds in self._seconds.items()}
        return {**named, "total_ms": round(total_s * 1000, _DIGITS)}
