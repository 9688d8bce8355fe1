"""`python -m benchmarks.crash_loop [RUNS] [SEED]`: kill the memory server thousands of times under load.

The long form of the crash test: same harness, more runs. Exit code 1 when anything acknowledged is lost,
doubled, torn or not found by a search. Writes `benchmarks/results/crash_loop.json`.
"""

import asyncio
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

import apsw

from tests.servers.memory.crash_loop import Account, run_crash_loop

RESULT = Path(__file__).parent / "results" / "crash_loop.json"
RUNS = 2000
KILLS_PER_ROUND = 100
"""After so many kills stock is taken and a new data folder begins, so that starts stay quick."""


def main(runs: int, seed: int) -> int:
    """Run the loop in rounds, write the result, say it; returns the exit code."""
    began = time.monotonic()
    accounts: list[Account] = []
    for number in range(-(-runs // KILLS_PER_ROUND)):
        kills = min(KILLS_PER_ROUND, runs - number * KILLS_PER_ROUND)
        with tempfile.TemporaryDirectory(prefix="crash-loop-") as folder:
            accounts.append(asyncio.run(run_crash_loop(Path(folder), kills, seed * 1000 + number)))
        print(f"{sum(account.runs for account in accounts)} kills", file=sys.stderr, flush=True)
    broken = {
        name: sorted(one for account in accounts for one in getattr(account, name))
        for name in ("lost", "doubled", "torn", "unsearchable")
    }
    result = describe(accounts, broken, seed, time.monotonic() - began)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    if any(broken.values()):
        print(json.dumps(broken, indent=2), file=sys.stderr)
        return 1
    return 0


def describe(
    accounts: list[Account], broken: dict[str, list[str]], seed: int, seconds: float
) -> dict[str, object]:
    """The figures of all rounds, and of the machine."""
    return {
        "kills": sum(account.runs for account in accounts),
        "kills_per_data_folder": KILLS_PER_ROUND,
        "seed": seed,
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


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:3]]
    sys.exit(main(given[0] if given else RUNS, given[1] if len(given) > 1 else 1))
