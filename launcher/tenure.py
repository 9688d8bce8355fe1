"""One supervisor after another: what the end of one means, and when the next one starts. Pure, standard
library only.
"""

from __future__ import annotations

from launcher.crashes import Crashes

__all__ = ["Tenure"]


class Tenure:
    """The supervisors of one guardian, in their turn; times are seconds of one monotonic clock."""

    def __init__(self, was_up: bool) -> None:
        """None has started yet; `was_up` when one ran before this guardian did."""
        self.reason = "guardian_lost" if was_up else "start"
        """Why the supervisor starts whose turn it is: also `died` or `reload`."""
        self.is_up = False
        self._was_up = was_up
        self._began_at = 0.0
        self._last_word = ""
        self._crashes = Crashes()

    @property
    def crashes(self) -> int:
        """Crashes in a row."""
        return self._crashes.count

    @property
    def hears_signals(self) -> bool:
        """Whether the present one knows what to do about a signal, or is the first and may end by it."""
        return self.is_up or not self._was_up

    @property
    def is_ending(self) -> bool:
        """Whether the present one has said that it ends, and everything with it."""
        return self._last_word == "end"

    @property
    def is_reloading(self) -> bool:
        """Whether the present one has said that another one shall take over."""
        return self._last_word == "reload"

    @property
    def is_last(self) -> bool:
        """Whether nothing follows the present one: it said so, or no supervisor has ever come up."""
        return self.is_ending or not self._was_up

    def begin(self, now_s: float) -> None:
        """A supervisor has been started."""
        self._began_at = now_s
        self.is_up, self._last_word = False, ""

    def come_up(self) -> None:
        """It has taken everything over."""
        self.is_up = self._was_up = True

    def announce(self, word: str) -> None:
        """It has said `reload` or `end`: that is how its end is to be understood."""
        self._last_word = word

    def pause_after_end_s(self, *, is_killed: bool, now_s: float) -> float | None:
        """It has ended, and is not the last: return the pause before the next one, None for no other.

        `is_killed` by SIGKILL: no mistake of its own ends in that, so it says nothing of the next one.
        """
        up_s = now_s - self._began_at if self.is_up else 0.0
        is_excused = self.is_reloading or (self.is_up and is_killed)
        self.reason = "reload" if self.is_reloading else "died"
        self.is_up = False
        return 0.0 if is_excused else self._crashes.next_pause_s(up_s)

    def pause_after_refusal_s(self) -> float | None:
        """It could not be started at all: return the pause before the next attempt, None for no other."""
        return self._crashes.next_pause_s(0.0)
