"""The inference server against its engine's own rate, against its peers, under bulk work, and in overload.

One run measures everything on the same machine with the same texts, several rounds in turn, and reports
medians of each round's ratios, so that a machine that is busy with other things disturbs both sides alike.

Run: python -m benchmarks.inference [--rounds 3] [--seconds 6] [--infinity VENV] [--name NAME] [--only PART…]
With `--only`, the figures of the parts named replace those in the results of before; the parts are
`engine-auto`, `engine-torch`, `doors`, `peers`, `overload-auto`, `overload-torch`, `neighbours`. `VENV` is a
virtual environment with infinity-emb (see benchmarks/README.md). Results are written to
benchmarks/results/inference-NAME.json and .txt.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from benchmarks import inference_report, neighbours, overload
from benchmarks.load import Plan
from benchmarks.systems import System, infinity, load_beside, ours, run_load, seed_style
from servers.embedding.machine import describe_machine

CLIENTS = (1, 16, 64, 256)
SEED_CLIENTS = (1, 16, 64)
"""A seed-style server refuses handshakes at 256, since nothing answers them while it encodes."""

BULK = {"texts_per_request": 256, "clients": 2, "config": {"priority": "bulk", "encoding": "base64"}}
LARGE = {"texts_per_request": 256, "clients": 2, "config": {"encoding": "base64"}}
PARTS = ("engine-auto", "engine-torch", "doors", "peers", "overload-auto", "overload-torch", "neighbours")
MUCH_S = 600.0
TURNS = 3
RESULTS = Path(__file__).with_name("results")

Measure = Callable[[System], dict[str, Any]]


def main() -> None:
    """Measure, print, and write the results down."""
    options = _options()
    # For everybody alike: on a machine that others use too, spinning OpenMP threads measure only themselves.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    rounds = _rounds_before(options.name) if options.only else []
    machine, text = describe_run(), ""
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
        if number == len(rounds):
            rounds.append({})
        measured = dict(_said(_round(options.seconds, options.infinity, options.only or PARTS)))
        rounds[number] |= measured
        text = write_results(rounds, machine, options.name)
    print(text)


def _rounds_before(name: str) -> list[dict[str, Any]]:
    """Return the rounds of the results of before, none if there are none."""
    file = RESULTS.joinpath(f"inference-{name}.json")
    return list(json.loads(file.read_text())["rounds"]) if file.is_file() else []


def write_results(rounds: list[dict[str, Any]], machine: dict[str, Any], name: str) -> str:
    """Write the results of the rounds so far down; return them as text."""
    result = {"machine": machine, "rounds": rounds, "summary": inference_report.summary(rounds)}
    text = inference_report.table(result)
    RESULTS.joinpath(f"inference-{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    RESULTS.joinpath(f"inference-{name}.txt").write_text(text + "\n")
    return text


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each single measurement")
    parser.add_argument("--infinity", type=Path, help="a virtual environment with infinity-emb")
    parser.add_argument("--name", default="cpu", help="of the result files")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="the parts to measure again")
    return parser.parse_args()


def describe_run() -> dict[str, Any]:
    """Return the machine, the versions, and how busy it is with other things."""
    machine = describe_machine()
    return {key: machine[key] for key in ("cpu", "cpu_count", "versions")} | {
        "python": sys.version.split()[0],
        "load_before": round(os.getloadavg()[0], 2),
    }


def _round(seconds: float, infinity_venv: Path | None, parts: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Yield one measurement after the other, those that are compared next to each other."""
    for backend in ("auto", "torch"):
        if f"engine-{backend}" in parts:
            yield f"against engine {backend}", _against_engine(backend, seconds)
            yield f"ours {backend}", _at(ours(backend), CLIENTS, seconds)
    if "doors" in parts:
        yield "ours auto, /v1", _at(ours("auto", "openai"), CLIENTS, seconds)
    if "peers" in parts:
        yield from _peers(seconds, infinity_venv)
    for backend in ("auto", "torch"):
        if f"overload-{backend}" in parts:
            yield f"interactive {backend}", _beside_bulk(ours(backend), seconds)
            yield f"overload {backend}", overload.measure(backend, seconds)
    if "neighbours" in parts:
        for backend in ("auto", "torch"):
            yield f"neighbours {backend}", neighbours.measure(backend, seconds)


def _peers(seconds: float, infinity_venv: Path | None) -> Iterator[tuple[str, Any]]:
    yield "seed-style", _at(seed_style(), SEED_CLIENTS, seconds)
    yield "sentence-transformers", _engine_rate("sentence-transformers", seconds)
    if infinity_venv is not None:
        yield "infinity", _at(infinity(infinity_venv), CLIENTS, seconds)


def _said(measurements: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    for name, figures in measurements:
        print(f"{name}: {json.dumps(figures)}", file=sys.stderr, flush=True)
        yield name, figures


def _engine_rate(backend: str, seconds: float) -> dict[str, Any]:
    argv = [sys.executable, "-m", "benchmarks.engine_rate", backend, str(seconds)]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return json.loads(done.stdout)  # type: ignore[no-any-return]  # what `main` returned


def _against_engine(backend: str, seconds: float) -> dict[str, Any]:
    """Measure 64 clients and the engine alone in turn, on one running server.

    In wall time, and in the CPU time of server or engine for each text: on a machine that is busy with other
    things, that is the steadier of the two. The load generator's own CPU time is in the former only.
    """
    alone: list[dict[str, Any]] = []
    served: list[dict[str, Any]] = []
    with ours(backend) as system:
        run_load(system.plan(clients=8, seconds=1.0))
        for _ in range(TURNS):
            alone.append(_engine_rate(backend, seconds))
            before = system.cpu_seconds()
            figures = run_load(system.plan(clients=64, seconds=seconds, warmup_s=0.0))
            cpu_ms = 1000 * (system.cpu_seconds() - before) / figures["replies"]["ok"]
            served.append({"per_second": figures["texts_per_second"], "cpu_ms_per_text": round(cpu_ms, 3)})
    return {
        "alone": alone,
        "served": served,
        "share": _median(served, "per_second") / _median(alone, "texts_per_second"),
        "cpu_share": _median(alone, "cpu_ms_per_text") / _median(served, "cpu_ms_per_text"),
    }


def _median(figures: list[dict[str, Any]], key: str) -> float:
    return statistics.median(float(each[key]) for each in figures)


def _at(starting: AbstractContextManager[System], clients: tuple[int, ...], seconds: float) -> dict[str, Any]:
    """Measure a system with each number of clients, every one asking again as soon as it is answered."""
    with starting as system:
        run_load(system.plan(clients=8, seconds=1.0))
        figures = {str(count): _figures(system.plan(clients=count, seconds=seconds)) for count in clients}
        return {**figures, "resident_mb": system.resident_mb()}


def _figures(plan: Plan) -> dict[str, Any]:
    figures = run_load(plan)
    answered = figures["latency_ms"].get("ok", {})
    return {
        "per_second": figures["texts_per_second"],
        "p50_ms": answered.get("p50"),
        "p99_ms": answered.get("p99"),
        "replies": figures["replies"],
    }


def _beside_bulk(starting: AbstractContextManager[System], seconds: float) -> dict[str, Any]:
    """Measure one interactive client alone, and beside bulk clients that always have 512 texts waiting."""
    with starting as system:
        one = system.plan(clients=1, seconds=seconds)
        idle = statistics.median(_figures(one)["p99_ms"] for _ in range(2))
        figures: dict[str, Any] = {"idle_p99_ms": idle}
        for name, fields in (("bulk", BULK), ("undeclared bulk", LARGE)):
            with load_beside(system.plan(seconds=MUCH_S, seed=2, **fields)):
                p99 = _figures(one)["p99_ms"]
            figures[name] = {"p99_ms": p99, "times_idle": round(p99 / idle, 2)}
        return figures


if __name__ == "__main__":
    main()
