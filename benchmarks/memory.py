"""The memory server against the disk, the memory's bandwidth, faiss, Chroma and LanceDB, on the same data.

Run: python -m benchmarks.memory --data FOLDER [--peers VENV] [--only PART ...] [--rounds 5] [--name NAME]
`FOLDER`, on the disk to be measured, keeps the stores that are built once (5 GB); `VENV` is a virtual
environment with the peers (see benchmarks/README.md). Results are written to
benchmarks/results/memory-NAME.json and .txt; with `--only`, the parts not measured now keep their figures.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import (
    memory_budget,
    memory_mixed,
    memory_report,
    memory_search,
    memory_serving,
    memory_stores,
)
from servers.embedding.machine import describe_machine, library_version

RESULTS = Path(__file__).with_name("results")
PARTS = ("stores", "search", "retrieve", "mixed", "start", "budget", "gpu")
EXIT_NO_GPU = 6


def main() -> int:
    """Measure, write the results down after every part, print them; returns the exit code."""
    options = _options()
    options.data.mkdir(parents=True, exist_ok=True)
    wanted = options.only or [part for part in PARTS if part != "gpu"]
    if "gpu" in wanted and not _has_cuda():
        print("the part gpu needs a CUDA device, and there is none here", file=sys.stderr)
        return EXIT_NO_GPU
    text = ""
    for part in wanted:
        print(part, file=sys.stderr, flush=True)
        load, began = round(os.getloadavg()[0], 2), time.monotonic()
        found = _measures(options)[part]()
        found |= {"load_before": load, "seconds": round(time.monotonic() - began, 1)}
        text = write_results(part, found, options.name)
    print(text)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="a folder on the disk to be measured")
    parser.add_argument("--peers", type=Path, help="a virtual environment with faiss, chromadb and lancedb")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part alone; may be repeated")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the parts search, start and budget")
    parser.add_argument("--gpu-rows", type=int, default=10_000_000)
    parser.add_argument("--name", default="cpu", help="of the result files")
    return parser.parse_args()


def _measures(options: argparse.Namespace) -> dict[str, Callable[[], dict[str, Any]]]:
    data, peers, rounds = options.data, options.peers, options.rounds
    return {
        "stores": lambda: memory_stores.measure(data, peers, rounds),
        "search": lambda: memory_search.measure(options.rows, peers, max(rounds, 15)),
        "retrieve": lambda: memory_serving.measure_retrieve(data, rounds),
        "mixed": lambda: memory_mixed.measure(data, rounds),
        "start": lambda: memory_serving.measure_start(data, options.rows, rounds),
        "budget": lambda: memory_budget.measure(data, options.rows),
        "gpu": lambda: memory_search.measure_gpu(options.gpu_rows, max(rounds, 15)),
    }


def _has_cuda() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def write_results(part: str, found: dict[str, Any], name: str) -> str:
    """Add the figures of a part to the result of that name; return the whole result as text."""
    file = RESULTS / f"memory-{name}.json"
    result = json.loads(file.read_text()) if file.exists() else {"parts": {}}
    machine = describe_machine()
    result["machine"] = {key: machine[key] for key in ("cpu", "cpu_count")} | {
        "python": sys.version.split()[0],
        "versions": {library: library_version(library) for library in ("torch", "numpy", "apsw")},
    }
    result["parts"][part] = found
    result["parts"] = {key: result["parts"][key] for key in PARTS if key in result["parts"]}
    # Written before it is told: minutes of measuring are not lost to a report that fails.
    file.write_text(json.dumps(result, indent=1) + "\n")
    text = memory_report.table(result)
    file.with_suffix(".txt").write_text(text)
    return text


if __name__ == "__main__":
    sys.exit(main())
