"""`python -m benchmarks.engines`: every embedding engine against sentence-transformers, in one run.

Two parts. Rates: each engine embeds the same batches of 32 short texts, one turn each per round, beside
`SentenceTransformer.encode` in float32; the median rate, its ratio, and the cosine to its vectors. Starts:
from spawning a process to its first embedding, and its memory then, for our server over a WebSocket (exported
beforehand, `backend: auto`) beside a plain script of the library. Writes `benchmarks/results/engines.json`;
exit code 1 when a bound is missed.
"""

import asyncio
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
from websockets.asyncio.client import connect

from benchmarks.texts import short_texts
from servers.embedding.engine import Engine, Vectors
from servers.embedding.machine import cpu_threads
from servers.embedding.models import find_model
from servers.embedding.selection import Wanted
from servers.embedding.surroundings import LIBRARY_ENVIRONMENT
from servers.embedding.variants import CPU_VARIANTS, Variant
from servers.embedding.vectors import normalise

RESULT = Path(__file__).parent / "results" / "engines.json"
MODEL = "all-MiniLM-L6-v2"
BATCH = 32
BATCHES = 4
ROUNDS = 9
STARTS = 5
BOUNDS = {"auto_ratio": 4.0, "auto_min_cosine": 0.9999, "start_share": 0.2, "rss_share": 0.6}
PLAIN_SCRIPT = """
import sys
from sentence_transformers import SentenceTransformer
SentenceTransformer(sys.argv[1], device="cpu", local_files_only=True).encode("hello")
print("embedded", flush=True)
sys.stdin.read()
"""


def main() -> int:
    """Run both parts, write and print the result; returns the exit code."""
    os.environ.update({name: os.environ.get(name, value) for name, value in LIBRARY_ENVIRONMENT.items()})
    files = find_model(MODEL)
    with tempfile.TemporaryDirectory(prefix="engines-") as folder:
        wanted = Wanted(
            files.path, files.name, "auto", "high", "cpu", cpu_threads(None, os.environ), Path(folder)
        )
        prepared = time.perf_counter()
        chosen = prepare(wanted)
        prepared = time.perf_counter() - prepared
        # Starts before rates: those import torch into this process, whose pages the others would share.
        starts = measure_starts(wanted)
        rates = measure_rates(wanted, Variant(chosen["backend"], chosen["dtype"]))
    result: dict[str, Any] = {
        "machine": machine(wanted.threads),
        "model": MODEL,
        "chosen_by_auto": chosen,
        "preparation_s": round(prepared, 1),
        "rates": rates,
        "starts": starts,
    }
    result["bounds"] = bounds(result)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    return 0 if all(bound["met"] for bound in result["bounds"].values()) else 1


def prepare(wanted: Wanted) -> dict[str, Any]:
    """Let a process of its own export and choose, as a server's first start does."""
    from servers.embedding.preparing import run_preparation

    choice = run_preparation(wanted, lambda phase, progress: None).to_json()
    return {name: choice[name] for name in ("backend", "dtype", "reason")}


def measure_rates(wanted: Wanted, chosen: Variant) -> dict[str, Any]:
    """Return texts/s, ratio and cosines of every variant, the library's own `encode` first."""
    from sentence_transformers import SentenceTransformer

    library = SentenceTransformer(str(wanted.model), device="cpu", local_files_only=True)
    texts = short_texts(BATCH * BATCHES)
    reference = np.asarray(library.encode(texts, batch_size=BATCH, normalize_embeddings=True))
    turns: dict[str, Callable[[], Vectors]] = {
        "sentence-transformers float32": lambda: np.asarray(library.encode(texts, batch_size=BATCH))
    }
    turns |= {
        str(variant): (lambda engine=engine: embed(engine, texts))
        for variant, engine in load_all(wanted, library)
    }
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    vectors: dict[str, Vectors] = {}
    for _ in range(ROUNDS + 1):
        for name, turn in turns.items():
            began = time.perf_counter()
            vectors[name] = normalise(turn())
            seconds[name].append(time.perf_counter() - began)
    slowest = median(seconds["sentence-transformers float32"][1:])
    return {
        name: {
            "texts_per_s": round(len(texts) / median(taken[1:])),
            "ratio": round(slowest / median(taken[1:]), 2),
            "min_cosine": round(float((vectors[name] * reference).sum(axis=1).min()), 7),
            "is_auto": name == str(chosen),
        }
        for name, taken in seconds.items()
    }


def embed(engine: Engine, texts: list[str]) -> Vectors:
    """Tokenise and embed in batches of 32, as `encode` does: nearest lengths together."""
    tokens = engine.tokenize(texts)
    order = sorted(range(len(tokens)), key=lambda place: len(tokens[place]))
    parts = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    vectors = np.concatenate([engine.forward([tokens[place] for place in part]) for part in parts])
    return np.asarray(vectors[np.argsort(order)])


def load_all(wanted: Wanted, library: Any) -> Iterator[tuple[Variant, Engine]]:
    """Yield every variant that runs here, loaded."""
    from servers.embedding.exporting import export_variants
    from servers.embedding.graph_loading import load_graph_engine
    from servers.embedding.torch_engine import load_torch_engine

    everything = replace(wanted, accuracy="fast").candidates()
    missing = export_variants(library, wanted, everything)
    for variant in CPU_VARIANTS:
        if variant not in everything or variant in missing:
            continue
        if variant.backend == "torch":
            yield (
                variant,
                load_torch_engine(wanted.files, "cpu", wanted.threads, dtype=variant.dtype),
            )
        else:
            yield variant, load_graph_engine(wanted, variant)


def measure_starts(wanted: Wanted) -> dict[str, Any]:
    """Return the medians of both programs, started alternately."""
    ours: list[tuple[float, float]] = []
    plain: list[tuple[float, float]] = []
    for _ in range(STARTS + 1):
        ours.append(asyncio.run(start_server(wanted)))
        plain.append(start_plain(wanted.model))
    # The first of each warms the page cache.
    summary = {"server": medians(ours[1:]), "sentence-transformers script": medians(plain[1:])}
    first, second = summary.values()
    shares = {name: round(first[name] / second[name], 3) for name in first}
    return {**summary, "share": shares}


def medians(starts: list[tuple[float, float]]) -> dict[str, float]:
    """Return the medians of seconds and megabytes."""
    seconds, megabytes = zip(*starts, strict=True)
    return {"first_embedding_s": round(median(seconds), 3), "rss_mb": round(median(megabytes), 1)}


async def start_server(wanted: Wanted) -> tuple[float, float]:
    """Return seconds from spawning our server to its first answered text, and its megabytes then."""
    arguments = ["--port", "0", "--device", "cpu", "--set", f"engine_cache={wanted.cache}"]
    began = time.perf_counter()
    with running([sys.executable, "-m", "servers.inference", *arguments]) as process:
        port = read_port(process)
        async with connect(f"ws://127.0.0.1:{port}") as socket:
            answer: dict[str, Any] = {}
            while answer.get("status") != "success":
                await socket.send('{"type": "embeddings", "data": {"text": "hello"}}')
                answer = json.loads(await socket.recv())
        return time.perf_counter() - began, resident_mb(process)


def read_port(process: "subprocess.Popen[str]") -> int:
    """Return the port that the server says it listens on."""
    assert process.stdout is not None
    for line in process.stdout:
        found = re.search(r"listens on port (\d+)", line)
        if found:
            return int(found[1])
    raise SystemExit("the server ended before it listened")


def start_plain(model: Path) -> tuple[float, float]:
    """Return seconds from spawning a plain script to its first embedding, and its megabytes then."""
    began = time.perf_counter()
    with running([sys.executable, "-c", PLAIN_SCRIPT, str(model)]) as process:
        assert process.stdout is not None
        if not any("embedded" in line for line in process.stdout):
            raise SystemExit("the script ended before it embedded")
        return time.perf_counter() - began, resident_mb(process)


@contextmanager
def running(command: list[str]) -> Iterator["subprocess.Popen[str]"]:
    """A process with its output in one pipe, ended afterwards."""
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def resident_mb(process: "subprocess.Popen[str]") -> float:
    """Return the resident megabytes of a process."""
    return float(psutil.Process(process.pid).memory_info().rss) / 1e6


def machine(threads: int) -> dict[str, Any]:
    """Describe what this ran on, without naming it."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    names = re.findall(r"model name\s*: (.*)", info)
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")
    return {
        "cpu": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "threads": threads,
        "flags": [flag for flag in wanted if f" {flag} " in info],
        "load": [round(value, 1) for value in os.getloadavg()],
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "sentence-transformers", "openvino", "onnxruntime")},
    }


def bounds(result: dict[str, Any]) -> dict[str, Any]:
    """Return each bound with what was measured and whether it is met."""
    auto = next(row for row in result["rates"].values() if row["is_auto"])
    share = result["starts"]["share"]
    measured = {
        "auto_ratio": (auto["ratio"], auto["ratio"] >= BOUNDS["auto_ratio"]),
        "auto_min_cosine": (auto["min_cosine"], auto["min_cosine"] >= BOUNDS["auto_min_cosine"]),
        "start_share": (share["first_embedding_s"], share["first_embedding_s"] <= BOUNDS["start_share"]),
        "rss_share": (share["rss_mb"], share["rss_mb"] <= BOUNDS["rss_share"]),
    }
    return {
        name: {"measured": value, "bound": BOUNDS[name], "met": met}
        for name, (value, met) in measured.items()
    }


if __name__ == "__main__":
    sys.exit(main())
