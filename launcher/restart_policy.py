"""Whether and when a child that ended is started again.

Decides from the *reason* a generation ended, never from the exit code alone: a child that was killed as
unhealthy and exits 0 on SIGTERM has still failed. Failures are consecutive: only `stable_after_s` in `ready`
clears them, since a window over time never trips when loading a model outlasts the window.
Pure: the jitter is an argument. Does not know processes, states or clocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "EXIT_CONFIG",
    "ExitReason",
    "Finish",
    "GiveUp",
    "Outcome",
    "RestartAfter",
    "RestartRules",
    "Verdict",
    "backoff_delay_s",
    "decide",
    "has_failed",
]

EXIT_CONFIG = 78
"""EX_CONFIG of sysexits(3): the child says that trying again cannot help (launcher.md section 6)."""

ExitReason = Literal[
    "exited",
    "killed",
    "oom",
    "startup_timeout",
    "unhealthy",
    "spawn_failed",
    "memory_limit",
    "vram_limit",
    "open_files_limit",
    "wrong_device",
]
"""The reasons of launcher.md section 4, and those that the other limits and the GPUs add."""


@dataclass(frozen=True)
class RestartRules:
    """A service's restart policy; durations in seconds, `max_failures` 0 means never give up."""

    policy: Literal["always", "on-failure", "never"] = "on-failure"
    initial_s: float = 0.5
    max_s: float = 30.0
    factor: float = 2.0
    jitter: float = 0.2
    max_failures: int = 5
    stable_after_s: float = 60.0
    is_endless: bool = False
    """A server, whose work has no end: one that ends unasked has failed, whatever its exit code says."""


@dataclass(frozen=True)
class Outcome:
    """How one generation ended: why, and the exit code when it has one."""

    reason: ExitReason
    code: int | None = None

    @property
    def is_clean(self) -> bool:
        """It ended by itself and said success."""
        return self.reason == "exited" and self.code == 0

    @property
    def is_permanent(self) -> bool:
        """Another try cannot help: it said so itself, or it would run on the wrong device again."""
        return (self.reason == "exited" and self.code == EXIT_CONFIG) or self.reason == "wrong_device"


@dataclass(frozen=True)
class RestartAfter:
    """Start again after `delay_s`."""

    delay_s: float


@dataclass(frozen=True)
class GiveUp:
    """Never start again without being asked; `reason` is a sentence for the user."""

    reason: str


@dataclass(frozen=True)
class Finish:
    """It has done what it was for; stay stopped."""


Verdict = RestartAfter | GiveUp | Finish


def backoff_delay_s(rules: RestartRules, failures: int, jitter: float) -> float:
    """Return the pause before the try that follows the `failures`-th consecutive failure.

    initial · factor^(failures-1), spread by ±`rules.jitter` and capped at `rules.max_s`. `failures` >= 1;
    `jitter` is uniform in [0, 1].
    """
    # The exponent is bounded so that a child that has failed for weeks does not overflow a float.
    plain_s = min(rules.max_s, rules.initial_s * rules.factor ** min(failures - 1, 64))
    return min(rules.max_s, plain_s * (1 + rules.jitter * (2 * jitter - 1)))


def has_failed(rules: RestartRules, outcome: Outcome) -> bool:
    """Whether a generation that ended so counts as one of the failures in a row."""
    return rules.is_endless or not outcome.is_clean


def decide(rules: RestartRules, outcome: Outcome, failures: int, jitter: float) -> Verdict:
    """Return what to do after `outcome`, which is the `failures`-th consecutive failure (this one
    counted).
    """
    if outcome.reason == "wrong_device":
        return GiveUp("it is not on the device that it was given")
    if outcome.is_permanent:
        return GiveUp(f"exit code {EXIT_CONFIG}: it said that trying again cannot help")
    is_done = rules.policy == "never" or (rules.policy == "on-failure" and not rules.is_endless)
    if outcome.is_clean and is_done:
        return Finish()
    if rules.policy == "never":
        return GiveUp("it failed, and its restart policy is 'never'")
    if rules.max_failures and failures >= rules.max_failures:
        times = "once" if failures == 1 else f"{failures} times in a row"
        return GiveUp(f"gave up: it ended {times}")
    return RestartAfter(backoff_delay_s(rules, failures, jitter))
