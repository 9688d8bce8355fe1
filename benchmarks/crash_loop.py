"""`python -m benchmarks.crash_loop [RUNS] [SEED] [--add]`: kill the memory server thousands of times.

The long form of the crash test: same harness, more runs. Exit code 1 when anything acknowledged is lost,
doubled, torn or not found by a search. Writes `benchmarks/results/crash_loop.json`; with `--add` the figures
are added to those that lie there, so that a long run can be made in pieces, each with a seed of its own.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw

from tests.servers.memory.crash_loop import Account, run_crash_loop

RESULT = Path(__file__).parent / "results" / "crash_loop.json"
RUNS = 2000
KILLS_PER_ROUND = 100
"""After so many kills stock is taken and a new data folder begins, so that starts stay quick."""


def main() -> int:
    """Run the loop in rounds, write the result, say it; returns the exit code."""
    options = _options()
    began = time.monotonic()
    accounts = list(_rounds(options.runs, options.seed))
    broken = {
        name: sorted(one for account in accounts for one in getattr(account, name))
        for name in ("lost", "doubled", "torn", "unsearchable")
    }
    result = describe(accounts, broken, options.seed, time.monotonic() - began)
    if options.add and RESULT.exists():
        result = added(json.loads(RESULT.read_text()), result)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    if any(broken.values()):
        print(json.dumps(broken, indent=2), file=sys.stderr)
        return 1
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Kill the memory server again and again under load.")
    parser.add_argument("runs", type=int, nargs="?", default=RUNS)
    parser.add_argument("seed", type=int, nargs="?", default=1)
    parser.add_argument("--add", action="store_true", help="add to the result that lies there")
    return parser.parse_args()


def _rounds(runs: int, seed: int) -> Iterator[Account]:
    """The account of each round, as soon as its stock is taken."""
    done = 0
    for number in range(-(-runs // KILLS_PER_ROUND)):
        kills = min(KILLS_PER_ROUND, runs - done)
        with tempfile.TemporaryDirectory(prefix="crash-loop-") as folder:
            yield asyncio.run(run_crash_loop(Path(folder), kills, seed * 1000 + number))
        done += kills
        print(f"{done} kills", file=sys.stderr, flush=True)


def describe(
    accounts: list[Account], broken: dict[str, list[str]], seed: int, seconds: float
) -> dict[str, Any]:
    """The figures of all rounds, and of the machine."""
    return {
        "kills": sum(account.runs for account in accounts),
        "kills_per_data_folder": KILLS_PER_ROUND,
        "seeds": [seed],
        "acknowledged": sum(account.acknowledged for account in accounts),
        "repeated_after_a_kill": sum(account.repeated for account in accounts),
        **{name: len(ids) for name, ids in broken.items()},
        "seconds": round(seconds, 1),
        "machine": {
            "cores": os.cpu_count(),
            "cpu": platform.machine(),
            "python": platform.python_version(),
            "sqlite": apsw.sqlite_lib_version(),
        },
    }


def added(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """The figures of both runs together: sums of what each run counted, the rest of the latter."""
    summed = {key: before[key] + now[key] for key in now if key not in ("kills_per_data_folder", "machine")}
    return {**now, **summed}


if __name__ == "__main__":
    sys.exit(main())
