"""`python -m benchmarks.supervisors`: this launcher beside supervisord, circus, pm2, runit and s6.

Each row is measured for every system one after the other in one run, each in a temporary folder of its own,
with the same services; what a system does not offer is said. Results are kept by row in
`results/supervisors-NAME.json`, so that a run of some rows (`--only`) leaves the others as they were; the
table beside it is written anew. Exit code 1 when one of our figures is beyond its bound.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from benchmarks.supervision import footprint, log_lines, orphans, refused, respawn, status_time
from benchmarks.supervision.machine import describe_machine
from benchmarks.supervision.ours import Ours
from benchmarks.supervision.peers_python import Circus, Supervisord
from benchmarks.supervision.peers_small import S6, Runit
from benchmarks.supervision.pm2 import Pm2
from benchmarks.supervision.systems import NotOffered, System
from benchmarks.supervision.table import broken_bounds, write_table

RESULTS = Path(__file__).parent / "results"
SYSTEMS: tuple[type[System], ...] = (Ours, Supervisord, Circus, Pm2, Runit, S6)
Measure = Callable[[System], dict[str, Any]]


def rows(options: argparse.Namespace) -> dict[str, Measure]:
    """Every row by name."""

    def restarts_of(system: System) -> int:
        return int(options.restarts if isinstance(system, Ours) else options.peer_restarts)

    measures: dict[str, Measure] = {
        "respawn": lambda system: respawn.measure(system, options.kills),
        "idle": lambda system: footprint.measure_idle(system, options.idle_seconds),
        "flood": lambda system: footprint.measure_flood(system, options.flood_bytes, 60.0),
        "log-lines": lambda system: log_lines.measure(system, options.lines, options.lines / 1_000_000 * 60),
        "status": lambda system: status_time.measure(system, 20),
    }
    for victim in orphans.VICTIMS:
        measures[f"orphans-{victim}"] = lambda system, victim=victim: orphans.measure(system, victim)
    for kind in refused.KINDS:
        measures[f"refused-{kind}"] = lambda system, kind=kind: refused.measure(
            system, kind, restarts_of(system)
        )
    return measures


def main(argv: list[str]) -> int:
    """Measure, write, say; returns the exit code."""
    options = parse(argv)
    # Asked to end, everything that was started is ended first.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    measures = rows(options)
    chosen = options.only or list(measures)
    if unknown := set(chosen) - set(measures):
        print(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(measures)}", file=sys.stderr)
        return 2
    path = RESULTS / f"supervisors-{options.name}.json"
    results = json.loads(path.read_text()) if path.exists() else {"rows": {}, "versions": {}}
    results["machine"] = describe_machine()
    for row in chosen:
        for kind in SYSTEMS:
            if not options.systems or kind.name in options.systems:
                outcome = measure_apart(kind, measures[row], options.peers, results["versions"])
                outcome["at"] = datetime.now(UTC).isoformat(timespec="seconds")
                results["rows"].setdefault(row, {})[kind.name] = outcome
                print(f"{row:20} {kind.name:14} {json.dumps(outcome)}", flush=True)
                path.write_text(json.dumps(results, indent=1) + "\n")
    write_table(results, path.with_suffix(".txt"))
    broken = broken_bounds(results["rows"], Ours.name, chosen)
    for sentence in broken:
        print(f"beyond its bound: {sentence}", file=sys.stderr)
    return 1 if broken else 0


def measure_apart(
    kind: type[System], measure: Measure, peers: Path, versions: dict[str, str]
) -> dict[str, Any]:
    """One measurement of one system in a folder of its own; what goes wrong is a result too."""
    with tempfile.TemporaryDirectory(prefix="sv-") as folder:
        system = kind(Path(folder), peers)
        try:
            versions[kind.name] = system.version()
            return measure(system)
        except NotOffered as lack:
            return {"not_offered": str(lack)}
        except (OSError, subprocess.SubprocessError, psutil.Error, AssertionError) as error:
            traceback.print_exc()
            return {"failed": f"{type(error).__name__}: {error}".replace(folder, "FOLDER")[:300]}
        finally:
            system.close()


def parse(argv: list[str]) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.supervisors", description=__doc__)
    parser.add_argument("--only", nargs="*", metavar="ROW", help="rows to measure (default: all)")
    parser.add_argument("--systems", nargs="*", metavar="NAME", help="systems to measure (default: all)")
    parser.add_argument(
        "--peers", type=Path, default=Path("peers"), help="folder with circus/ and node_modules/"
    )
    parser.add_argument("--name", default="cpu", help="names the files of the results")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--restarts", type=int, default=100, help="of each kind, for us")
    parser.add_argument("--peer-restarts", type=int, default=20, help="of each kind, for the others")
    parser.add_argument("--idle-seconds", type=float, default=30.0)
    parser.add_argument("--flood-bytes", type=int, default=10**9)
    parser.add_argument("--lines", type=int, default=1_000_000)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
