"""What chaos can do to a stack: one frozen value per deed, and the strategies that draw schedules of them.

Knows nothing of how a deed is done (`deeds`). A schedule is written as JSON and read back, so that a
run can be repeated as it was.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

from hypothesis import strategies as st

__all__ = ["Ask", "Hit", "Schedule", "Step", "read_schedule", "schedules", "write_schedule"]

Target = Literal["web", "family", "chatty", "dependent"]
Victim = Literal["child", "grandchild", "supervisor", "guardian", "both"]
Verb = Literal["start", "stop", "restart", "scale", "reload", "bad_file", "reload_self"]
HitKind = Literal["kill", "freeze", "flood", "daemonise"]

TARGETS: tuple[Target, ...] = ("web", "family", "chatty", "dependent")


@dataclass(frozen=True)
class Hit:
    """A signal to a process of the stack; `victim` of another kind than child ignores `target`."""

    kind: HitKind
    victim: Victim = "child"
    target: Target = "web"


@dataclass(frozen=True)
class Ask:
    """A word to the supervisor; `number` is the replicas of `scale` and the new value of `reload`."""

    verb: Verb
    target: Target = "web"
    number: int = 1


@dataclass(frozen=True)
class Step:
    """Deeds done one right after the other, with a pause before each; then everything must settle."""

    deeds: tuple[Hit | Ask, ...]
    pause_ms: int = 0


Schedule = tuple[Step, ...]

_targets = st.sampled_from(TARGETS)
_kills = st.builds(
    Hit,
    st.just("kill"),
    st.sampled_from(["child", "child", "grandchild", "supervisor", "guardian"]),
    _targets,
)
_mischief = st.builds(Hit, st.sampled_from(["flood", "flood", "daemonise"]), st.just("child"), _targets)
_freezes = st.builds(
    Hit, st.just("freeze"), st.sampled_from(["child", "supervisor"]), st.sampled_from(["web", "family"])
)
_words = st.builds(Ask, st.sampled_from(["start", "stop", "restart", "restart"]), _targets)
_changes = st.one_of(
    st.builds(Ask, st.just("scale"), st.just("web"), st.integers(1, 3)),
    st.builds(Ask, st.just("reload"), _targets, st.integers(0, 9)),
    st.builds(Ask, st.sampled_from(["bad_file", "reload_self"])),
)
_deeds = st.sampled_from([_kills, _kills, _mischief, _words, _changes]).flatmap(lambda chosen: chosen)
_storms = st.builds(
    Step, st.lists(_deeds, min_size=1, max_size=5).map(tuple), st.sampled_from([0, 0, 1, 5, 20, 100])
)
# A hang is only found after some probes, so it comes with little else; so does the end of everything.
_hangs = st.builds(Step, st.tuples(_freezes, _mischief))
_ends = st.builds(Step, st.tuples(_mischief, st.just(Hit("kill", "both"))), st.sampled_from([0, 20]))


def schedules(min_steps: int, max_steps: int) -> st.SearchStrategy[Schedule]:
    """Draw schedules of so many steps."""
    # Not `one_of`, which would take equal strategies for one.
    steps = st.sampled_from([*[_storms] * 6, _hangs, _ends]).flatmap(lambda chosen: chosen)
    return st.lists(steps, min_size=min_steps, max_size=max_steps).map(tuple)


def write_schedule(schedule: Schedule) -> str:
    """Return the schedule as one line of JSON."""
    return json.dumps([asdict(step) for step in schedule])


def read_schedule(text: str) -> Schedule:
    """Return the schedule that `write_schedule` wrote; raises ValueError for anything else."""
    try:
        return tuple(
            Step(tuple(_read_deed(deed) for deed in step["deeds"]), step["pause_ms"])
            for step in json.loads(text)
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a schedule: {error!r}") from error


def _read_deed(fields: dict[str, Any]) -> Hit | Ask:
    return Hit(**fields) if "kind" in fields else Ask(**fields)
