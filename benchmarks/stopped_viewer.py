"""Whether looking at a stack slows it: a child writes all it can, with no viewer, one, and a stopped one.

    python -m benchmarks.stopped_viewer [--lines 400000] [--rounds 5]

A real supervisor, a real child that writes so many lines of 94 bytes and ends, and a real dashboard in a
pseudo terminal that is read as fast as it is written, or stopped (SIGSTOP) for the whole of the child's
life. The kinds take turns, and the best pace of each counts, so that what else the machine does meets all of
them and decides nothing. Writes `results/stopped_viewer.json`; exits 1 when a stopped viewer costs a child
more than 2 % of its pace or the supervisor 20 MB of memory.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.dashboard import dashboard, machine, pause
from tests.integration.stack import Stack
from tests.integration.supervised_stack import hostile

RESULT = Path(__file__).parent / "results" / "stopped_viewer.json"
KINDS = ("nobody looks", "a viewer", "a stopped viewer")
CONFIG = """\
services:
  flood:
    command: {command}
    restart: {{policy: never}}
"""
# The dashboard has drawn its first screen by then.
SETTLE_S = 2.0


def main() -> int:
    """Measure in turns, print and write the figures; 1 when a bound does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=400_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    took_s: dict[str, list[float]] = {kind: [] for kind in KINDS}
    grown: list[int] = []
    with tempfile.TemporaryDirectory() as name:
        command = hostile("--flood", str(options.lines), "--exit", "0")
        stack = Stack(Path(name), config=CONFIG.format(command=command))
        try:
            stack.run("up", "-d")
            finished(stack)
            for _ in range(options.rounds):
                for kind in KINDS:
                    before = rss(stack)
                    took_s[kind].append(one_flood(stack, kind))
                    grown += [rss(stack) - before] if kind == KINDS[2] else []
        finally:
            stack.close()
    return report(took_s, max(grown), options.lines)


def report(took_s: dict[str, list[float]], grown: int, lines: int) -> int:
    """Write the figures down; 1 when a bound does not hold."""
    rows = [
        {
            "kind": kind,
            "lines_per_second_best": round(lines / min(times)),
            "lines_per_second_median": round(lines / median(times)),
            "lines_per_second_each": [round(lines / each) for each in times],
        }
        for kind, times in took_s.items()
    ]
    cost = min(took_s[KINDS[2]]) / min(took_s[KINDS[0]]) - 1
    document = {
        "machine": machine(),
        "lines": lines,
        "rows": rows,
        "stopped_viewer_costs_percent": round(100 * cost, 1),
        "supervisor_grew_bytes": grown,
    }
    text = json.dumps(document, indent=2)
    print(text)
    RESULT.write_text(text + "\n")
    return 0 if cost < 0.02 and grown < 20_000_000 else 1


def one_flood(stack: Stack, kind: str) -> float:
    """How long the child lived that wrote everything, in seconds, while somebody looked or not."""
    with looking(stack, kind):
        stack.run("restart", "flood")
        return finished(stack)


def finished(stack: Stack) -> float:
    """Wait until the child has ended; returns how long it lived, in seconds."""
    stack.run("wait", "flood", "--for", "stopped")
    last_exit = stack.child("flood")["last_exit"]
    assert last_exit["code"] == 0, last_exit
    return float(last_exit["after_s"])


def rss(stack: Stack) -> int:
    """The supervisor's memory in bytes."""
    return int(stack.status()["supervisor"]["rss_bytes"])


@contextmanager
def looking(stack: Stack, kind: str) -> Iterator[None]:
    """Nobody, a dashboard, or a stopped one, for as long as the block runs."""
    if kind == KINDS[0]:
        yield
        return
    environment = {**stack.environ, "TERM": "xterm-256color"}
    with dashboard(stack.root, environment) as pid:
        pause(SETTLE_S)
        if kind == KINDS[2]:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            if kind == KINDS[2]:
                os.kill(pid, signal.SIGCONT)


if __name__ == "__main__":
    sys.exit(main())
