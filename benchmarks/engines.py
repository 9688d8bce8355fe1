"""`python -m benchmarks.engines`: every embedding engine against sentence-transformers, in one run.

Two parts. Rates: each engine embeds the same batches of 32 short texts, one turn each per round, beside
`SentenceTransformer.encode` in float32, which runs in a process of its own with its libraries' own settings;
the median rate, the median ratio within a round, the processor time
per text (which other load on the machine hardly touches), and the cosine to its vectors. Starts: from
spawning a process to its first embedding, its processor time and its memory by then, for our server over a
WebSocket (exported beforehand, `backend: auto`) beside a plain script of the library. Writes
`benchmarks/results/engines.json`; exit code 1 when a bound is missed.
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
from servers.embedding.variants import Variant
from servers.embedding.vectors import normalise

RESULT = Path(__file__).parent / "results" / "engines.json"
MODEL = "all-MiniLM-L6-v2"
BATCH = 32
BATCHES = 4
ROUNDS = 9
STARTS = 5
Start = tuple[float, float, float]
"""Seconds to the first embedding, processor seconds by then, megabytes by then."""
BOUNDS = {"auto_ratio": 4.0, "auto_min_cosine": 0.9999, "start_share": 0.2, "rss_share": 0.6}
PLAIN_SCRIPT = """
import sys
from sentence_transformers import SentenceTransformer
SentenceTransformer(sys.argv[1], device="cpu", local_files_only=True).encode("hello")
print("embedded", flush=True)
sys.stdin.read()
"""
ENCODE_SCRIPT = """
import json, sys, time
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(sys.argv[1], device="cpu", local_files_only=True)
texts = json.loads(sys.stdin.readline())
for _ in sys.stdin:
    wall, cpu = time.perf_counter(), time.process_time()
    model.encode(texts, batch_size=int(sys.argv[2]))
    print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu]), flush=True)
"""
LIBRARY = "sentence-transformers float32"


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
    """Return the figures of every variant, those of the library's own `encode` first."""
    texts = short_texts(BATCH * BATCHES)
    plain_environment = {name: value for name, value in os.environ.items() if name not in LIBRARY_ENVIRONMENT}
    command = [sys.executable, "-c", ENCODE_SCRIPT, str(wanted.model), str(BATCH)]
    with running(command, {**plain_environment, "HF_HUB_OFFLINE": "1"}, subprocess.DEVNULL) as process:
        ask(process, json.dumps(texts))
        engines, reference = load_all(wanted, texts)
        turns: dict[str, Callable[[], tuple[float, float]]] = {LIBRARY: lambda: library_turn(process)}
        turns |= {
            str(variant): (lambda engine=engine: engine_turn(engine, texts))
            for variant, engine in engines.items()
        }
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in turns}
        for _ in range(ROUNDS + 1):
            for name, turn in turns.items():
                taken[name].append(turn())
    cosines = {
        str(variant): float((normalise(embed(engine, texts)) * reference).sum(axis=1).min())
        for variant, engine in engines.items()
    }
    base = [wall for wall, _ in taken[LIBRARY][1:]]
    return {
        name: {
            "texts_per_s": round(len(texts) / median(wall for wall, _ in rows[1:])),
            "ratio": round(median(b / wall for b, (wall, _) in zip(base, rows[1:], strict=True)), 2),
            "cpu_ms_per_text": round(1000 * median(cpu for _, cpu in rows[1:]) / len(texts), 2),
            "min_cosine": round(cosines.get(name, 1.0), 7),
            "is_auto": name == str(chosen),
        }
        for name, rows in taken.items()
    }


def library_turn(process: "subprocess.Popen[str]") -> tuple[float, float]:
    """Let the library encode all texts once; return its seconds and processor seconds."""
    assert process.stdout is not None
    ask(process, "again")
    wall, cpu = json.loads(process.stdout.readline())
    return wall, cpu


def ask(process: "subprocess.Popen[str]", line: str) -> None:
    """Write one line to a process."""
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def engine_turn(engine: Engine, texts: list[str]) -> tuple[float, float]:
    """Embed all texts once; return seconds and processor seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    normalise(embed(engine, texts))
    return time.perf_counter() - wall, time.process_time() - cpu


def embed(engine: Engine, texts: list[str]) -> Vectors:
    """Tokenise and embed in batches of 32, as `encode` does: nearest lengths together."""
    tokens = engine.tokenize(texts)
    order = sorted(range(len(tokens)), key=lambda place: len(tokens[place]))
    parts = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    vectors = np.concatenate([engine.forward([tokens[place] for place in part]) for part in parts])
    return np.asarray(vectors[np.argsort(order)])


def load_all(wanted: Wanted, texts: list[str]) -> tuple[dict[Variant, Engine], Vectors]:
    """Return every variant that runs here, loaded, and the library's vectors of `texts`."""
    from servers.embedding.exporting import export_variants
    from servers.embedding.graph_loading import load_graph_engine
    from servers.embedding.torch_engine import load_model, load_torch_engine, resolve_device

    library = load_model(wanted.files, resolve_device("cpu"))
    reference = np.asarray(library.encode(texts, batch_size=BATCH, normalize_embeddings=True))
    everything = replace(wanted, accuracy="fast").candidates()
    missing = export_variants(library, wanted, everything)
    engines: dict[Variant, Engine] = {}
    for variant in (each for each in everything if each not in missing):
        if variant.backend == "torch":
            engines[variant] = load_torch_engine(wanted.files, "cpu", wanted.threads, dtype=variant.dtype)
        else:
            engines[variant] = load_graph_engine(wanted, variant)
    return engines, reference


def measure_starts(wanted: Wanted) -> dict[str, Any]:
    """Return the medians of both programs, started alternately."""
    ours: list[Start] = []
    plain: list[Start] = []
    for _ in range(STARTS + 1):
        ours.append(asyncio.run(start_server(wanted)))
        plain.append(start_plain(wanted.model))
    # The first of each warms the page cache.
    summary = {"server": medians(ours[1:]), "sentence-transformers script": medians(plain[1:])}
    first, second = summary.values()
    shares = {name: round(first[name] / second[name], 3) for name in first}
    return {**summary, "share": shares}


def medians(starts: list[Start]) -> dict[str, float]:
    """Return the median of each figure."""
    wall, cpu, megabytes = (round(median(figures), 3) for figures in zip(*starts, strict=True))
    return {"first_embedding_s": wall, "cpu_s": cpu, "rss_mb": megabytes}


async def start_server(wanted: Wanted) -> Start:
    """Spawn our server and return what it took to answer its first text."""
    arguments = ["--port", "0", "--device", "cpu", "--set", f"engine_cache={wanted.cache}"]
    began = time.perf_counter()
    with running([sys.executable, "-m", "servers.inference", *arguments]) as process:
        port = wait_until_ready(process)
        async with connect(f"ws://127.0.0.1:{port}") as socket:
            await socket.send('{"type": "embeddings", "data": {"text": "hello"}}')
            if json.loads(await socket.recv())["status"] != "success":
                raise SystemExit("the server did not embed")
        return time.perf_counter() - began, *cost(process)


def wait_until_ready(process: "subprocess.Popen[str]") -> int:
    """Return the port that the server says it listens on, once it says that it is ready."""
    assert process.stdout is not None
    port = 0
    for line in process.stdout:
        found = re.search(r"listens on port (\d+)", line)
        port = int(found[1]) if found else port
        if "ready on" in line:
            return port
    raise SystemExit("the server ended before it was ready")


def start_plain(model: Path) -> Start:
    """Spawn a plain script of the library and return what it took to embed its first text."""
    began = time.perf_counter()
    with running([sys.executable, "-c", PLAIN_SCRIPT, str(model)]) as process:
        assert process.stdout is not None
        if not any("embedded" in line for line in process.stdout):
            raise SystemExit("the script ended before it embedded")
        return time.perf_counter() - began, *cost(process)


@contextmanager
def running(
    command: list[str], environment: dict[str, str] | None = None, errors: int = subprocess.STDOUT
) -> Iterator["subprocess.Popen[str]"]:
    """A process that is written to and read from, ended afterwards."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=errors, text=True, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def cost(process: "subprocess.Popen[str]") -> tuple[float, float]:
    """Return the processor seconds that a process has used and its resident megabytes."""
    seen = psutil.Process(process.pid)
    times = seen.cpu_times()
    return times.user + times.system, float(seen.memory_info().rss) / 1e6


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
