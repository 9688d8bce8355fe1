"""`python -m benchmarks.chaos [SCHEDULE] [--minutes M] [--seed N]`: chaos for as long as it is told.

Schedules of kills, freezes, floods and orders are drawn by hypothesis from one seed after another, and each
is run on a real stack in a folder of its own; every invariant of the tests is held. A schedule that failed is
printed and run again with `SCHEDULE`, its seed with `--seed N --minutes 0`. Exit code 1
when anything was wrong. Writes `benchmarks/results/chaos.json`.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from benchmarks.supervision.machine import describe_machine
from tests.integration.chaos.operations import Hit, Schedule, read_schedule, schedules, write_schedule
from tests.integration.chaos.running import Bounds, Verdict, run_schedule

RESULT = Path(__file__).parent / "results" / "chaos.json"
SCHEDULES_PER_SEED = 5
MIN_STEPS, MAX_STEPS = 5, 15


class Tally:
    """What all runs together did, and what was wrong with them."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.deeds: Counter[str] = Counter()
        self.settle_s: list[float] = []
        self.longest_gap_s = 0.0
        self.totals: Counter[str] = Counter()
        self.failed: list[dict[str, Any]] = []

    def add(self, number: int | None, schedule: Schedule, verdict: Verdict) -> None:
        """Count one run; say at once what was wrong with it."""
        self.deeds.update(name_of(deed) for step in schedule for deed in step.deeds)
        self.settle_s += verdict.settle_s
        self.longest_gap_s = max(self.longest_gap_s, verdict.longest_gap_s)
        sizes = {"lines": verdict.lines, "clients": verdict.clients, "children": verdict.births}
        self.totals.update({"schedules": 1, "steps": len(schedule), **sizes})
        if verdict.problems:
            text = write_schedule(schedule)
            self.failed.append({"seed": number, "schedule": text, "problems": verdict.problems[:20]})
            print(f"\nseed {number}: {text}", *verdict.problems[:20], sep="\n  ", file=sys.stderr, flush=True)

    def summary(self) -> dict[str, Any]:
        """The figures as a document."""
        ordered = sorted(self.settle_s)
        return {
            **self.totals,
            "deeds": dict(sorted(self.deeds.items())),
            "settled_s": {
                "p50": round(ordered[len(ordered) // 2], 2) if ordered else None,
                "max": round(ordered[-1], 2) if ordered else None,
            },
            "longest_without_supervisor_s": round(self.longest_gap_s, 2),
            "failed": self.failed,
            "machine": describe_machine(),
        }


def name_of(deed: object) -> str:
    """`kill guardian`, `restart`."""
    return f"{deed.kind} {deed.victim}" if isinstance(deed, Hit) else str(getattr(deed, "verb", deed))


def suffer(number: int | None, schedule: Schedule, bounds: Bounds, tally: Tally) -> None:
    """Run one schedule."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        tally.add(number, schedule, run_schedule(Path(folder), schedule, bounds))


def suffer_seed(number: int, bounds: Bounds, tally: Tally, until: float) -> None:
    """Run the schedules of one seed, in the order in which they are drawn, until it is time to stop."""

    @seed(number)
    @settings(
        max_examples=SCHEDULES_PER_SEED,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(schedules(MIN_STEPS, MAX_STEPS))
    def draw(schedule: Schedule) -> None:
        if time.monotonic() < until:
            suffer(number, schedule, bounds, tally)

    draw()


def main(argv: list[str]) -> int:
    """Run, write the result, say it; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("schedule", nargs="?", type=read_schedule, help="run this one only")
    parser.add_argument("--minutes", type=float, default=10.0, help="0: the schedules of one seed")
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    options = parser.parse_args(argv)
    # Asked to end, the stack is ended first.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    tally, bounds = Tally(), Bounds()
    if options.schedule is not None:
        suffer(None, options.schedule, bounds, tally)
        print(json.dumps(tally.summary(), indent=1))
        return 1 if tally.failed else 0
    until = time.monotonic() + options.minutes * 60 if options.minutes else float("inf")
    number = options.seed
    while True:
        suffer_seed(number, bounds, tally, until)
        print(f"seed {number}: {tally.totals['schedules']} schedules", file=sys.stderr, flush=True)
        number += 1
        if not options.minutes or time.monotonic() >= until:
            break
    result = {"seeds": f"{options.seed}-{number - 1}", **tally.summary()}
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
