"""When a supervisor that crashed is started again: at once, later, or never. Pure, standard library only."""

__all__ = ["Crashes"]

_PAUSES_S = (0.0, 0.25, 0.5, 1.0, 2.0)
"""Before the n-th start after crashes in a row; when they are used up, there is no use in another."""
_STABLE_S = 60.0


class Crashes:
    """Counts crashes in a row: a supervisor that was up for a minute begins a new row."""

    def __init__(self) -> None:
        """None so far."""
        self.count = 0

    def next_pause_s(self, up_s: float) -> float | None:
        """Count a crash after `up_s` seconds of being up; returns the pause before the next start, or None
        for no start any more.
        """
        self.count = 1 if up_s > _STABLE_S else self.count + 1
        return _PAUSES_S[self.count - 1] if self.count <= len(_PAUSES_S) else None
