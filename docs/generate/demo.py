"""A stack that is worth a picture: four services in four states on two GPUs, with figures that move.

Everything has the shape of the real thing (launcher.md section 4), so that the dashboard draws it as it
draws any
stack. Deterministic: the same second gives the same document.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

__all__ = ["NOW", "SECONDS", "documents", "events", "write_logs"]

NOW = datetime(2026, 11, 23, 14, 2, 20, 655123, tzinfo=UTC)
SECONDS = 120
GIB = 1024**3
FIRST = "GPU-6f0c2b1e-8a4d-4f57-9b0e-2f6f1c9d7a10"
SECOND = "GPU-b7714e02-51c9-4d0a-8f3b-90de5a1f6c22"
TROUBLE = "[Errno 110] Connection timed out: '/srv/share'"

Document = dict[str, Any]
Row = tuple[float, str, str]


def documents() -> Iterator[Document]:
    """Two minutes of snapshots, one a second; the last one is at NOW."""
    for second in range(SECONDS):
        yield document(second)


def document(second: int) -> Document:
    """The snapshot of one second."""
    load = _load(second)
    return {
        "schema": "lucid.status/1",
        "project": "lucid",
        "config": "config.yaml",
        "revision": 40 + second,
        "at": _stamp(NOW - timedelta(seconds=SECONDS - 1 - second)),
        "supervisor": {
            "pid": 811,
            "guardian_pid": 810,
            "uptime_s": 11_400.0 + second,
            "version": "0.1.0",
            "rss_bytes": 27_000_000,
        },
        "services": {
            "memory": _memory(second, load),
            "inference": _inference(second, load),
            "llm": _llm(second),
            "indexer": _indexer(),
        },
        "gpus": [
            _gpu(0, FIRST, used=18.2, utilization=40 + 45 * load, temperature=54, power=212 + 180 * load),
            _gpu(1, SECOND, used=61.0 + second / 20, utilization=12 + 8 * load, temperature=47, power=161.0),
        ],
        "notes": [],
    }  # fmt: skip


def _load(second: int) -> float:
    """A share of full load that rises and falls like traffic does."""
    return 0.55 + 0.3 * math.sin(second / 9) + 0.15 * math.sin(second / 2.3)


def _memory(second: int, load: float) -> Document:
    stats = _stats(rate=118 * load, p50=2.1 + load, p99=7.4 + 4 * load, depth=int(6 * load))
    child = _child(
        "memory",
        pid=29_310,
        uptime_s=11_390.0 + second,
        cpu_percent=21 + 20 * load,
        rss_bytes=612_000_000,
        vram_bytes=int(1.9 * GIB),
        gpu={"ids": [FIRST], "device": "cuda:0"},
        stats=stats,
    )
    return _service([child], port=5000, server="memory")


def _inference(second: int, load: float) -> Document:
    children = []
    for replica, share in enumerate((1.0, 0.86)):
        depth = int(40 * load * share)
        stats = _stats(rate=533 * load * share, p50=1.2 + load, p99=4.1 + 3 * load, depth=depth)
        child = _child(
            f"inference.{replica}",
            pid=29_303 + replica,
            generation=1 + replica,
            restarts=replica,
            uptime_s=(11_392.0, 4_194.0)[replica] + second,
            cpu_percent=60 + 30 * load * share,
            rss_bytes=1_400_000_000,
            vram_bytes=int(2.1 * GIB),
            gpu={"ids": [FIRST], "device": "cuda:0"},
            stats=stats,
        )
        children.append(child)
    return _service(children, port=5005, server="inference")


def _llm(second: int) -> Document:
    child = _child(
        "llm",
        state="starting",
        pid=31_877,
        phase="load-model",
        progress=second / SECONDS * 0.62,
        uptime_s=8.0 + second,
        cpu_percent=97.0,
        rss_bytes=int((3 + second / 9) * GIB),
        vram_bytes=int((30 + second / 5) * GIB),
        gpu={"ids": [SECOND], "device": "cuda:0"},
    )
    return _service([child], port=8000, server=None)


def _indexer() -> Document:
    last_exit = {
        "code": 1,
        "signal": None,
        "reason": "exited",
        "at": _stamp(NOW - timedelta(seconds=9)),
        "after_s": 4.1,
        "stderr_tail": ["connecting to /srv/share", f"OSError: {TROUBLE}"],
        "diagnosis": None,
    }
    child = _child(
        "indexer",
        state="backoff",
        restarts=2,
        consecutive_failures=2,
        next_retry_s=3.0,
        last_exit=last_exit,
        gpu={"ids": [], "device": "cpu"},
    )
    return _service([child], port=None, server=None)


def _service(children: list[Document], *, port: int | None, server: str | None) -> Document:
    worst = min((child["state"] for child in children), key=["backoff", "starting", "ready"].index)
    scheme = "ws" if server else "http"
    return {
        "desired": "up",
        "state": worst,
        "port": port,
        "url": f"{scheme}://localhost:{port}" if port else None,
        "fallback_port": False,
        "server": server,
        "depends_on": {},
        "notes": [],
        "children": children,
    }


def _child(name: str, *, stats: Document | None = None, **facts: Any) -> Document:
    health = {
        "probe": "websocket" if stats else None,
        "address": f"127.0.0.1:{facts['port']}" if stats and facts.get("port") else None,
        "ok": True if stats else None,
        "age_s": 0.4 if stats else None,
        "latency_ms": 1.1 if stats else None,
        "failures": 0,
        "stats": stats,
        "detail": None,
    }
    unknown = (
        "pid phase progress detail uptime_s last_exit next_retry_s reason cpu_percent rss_bytes vram_bytes"
    )
    counts = {
        "generation": 1,
        "restarts": 0,
        "consecutive_failures": 0,
        "exits_total": 0,
        "log_lines_dropped": 0,
    }
    known = {"name": name, "state": "ready", "health": health, "log": f"logs/{name}.log"}
    return {**dict.fromkeys(unknown.split()), **counts, **known, **facts}


def _stats(*, rate: float, p50: float, p99: float, depth: int) -> Document:
    return {
        "device": "cuda:0",
        "model": "all-MiniLM-L6-v2",
        "requests": {"total": 1_204_551, "errors": 2, "in_flight": 3, "per_second": rate},
        "latency_ms": {"total": {"p50": p50, "p99": p99}},
        "queue": {"depth": depth, "limit": 16_384},
    }


def _gpu(
    index: int, uuid: str, *, used: float, utilization: float, temperature: float, power: float
) -> Document:
    total = 141 * 10**9
    return {
        "uuid": uuid,
        "index": index,
        "name": "NVIDIA H200",
        "total_bytes": total,
        "used_bytes": int(used * GIB),
        "free_bytes": total - int(used * GIB),
        "utilization": utilization,
        "temperature": temperature,
        "power": power,
    }


def events() -> list[Document]:
    """What happened in this stack's life, oldest first."""
    told = (
        (11_392, "inference.0", "starting", "ready", "pid 29303"),
        (11_390, "memory", "starting", "ready", "pid 29310"),
        (4_210, "inference.1", "ready", "unhealthy", "no answer within 2 s, 1 of 3"),
        (4_204, "inference.1", "unhealthy", "stopping", "no answer to 3 probes"),
        (4_203, "inference.1", "stopping", "starting", "generation 2"),
        (4_194, "inference.1", "starting", "ready", "pid 29304"),
        (128, "llm", "stopped", "starting", "generation 1"),
        (24, "indexer", "starting", "backoff", "exited 1; next try in 0.5 s (failure 1 of 5)"),
        (9, "indexer", "starting", "backoff", "exited 1; next try in 12 s (failure 2 of 5)"),
    )
    return [_event(revision, *facts) for revision, facts in enumerate(told, 1)]


def _event(revision: int, ago: float, child: str, before: str, after: str, detail: str) -> Document:
    return {
        "revision": revision,
        "at": _stamp(NOW - timedelta(seconds=ago)),
        "service": child.partition(".")[0],
        "child": child,
        "from": before,
        "to": after,
        "detail": detail,
        "reason": None,
        "generation": 1,
        "pid": None,
    }


def write_logs(folder: Path) -> None:
    """The log files of this stack, as the supervisor writes them."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = {"memory": list(_memory_log()), "inference.0": list(_inference_log()), "llm": list(_llm_log())}
    rows |= {"inference.1": list(_restarted_log()), "indexer": list(_indexer_log())}
    for child, lines in rows.items():
        lines.sort(key=lambda row: -row[0])
        text = "".join(
            f"{_stamp(NOW - timedelta(seconds=ago))} {stream} | {said}\n" for ago, stream, said in lines
        )
        (folder / f"{child}.log").write_text(text, encoding="utf-8")


def _memory_log() -> Iterator[Row]:
    yield 11_395.0, "lucid", "generation 1 started, pid 29310"
    for step in range(0, 40, 3):
        count = 3 + step % 4
        yield (
            39.7 - step,
            "stdout",
            f"INFO servers.memory: {count} memories stored in one commit, fsync 0.8 ms",
        )
    yield 6.2, "stdout", "WARNING servers.memory: 41 ms in fsync: the disk is busy"


def _inference_log() -> Iterator[Row]:
    yield 11_396.0, "lucid", "generation 1 started, pid 29303"
    for step in range(40):
        texts, tokens, took = 24 + step % 9, 610 + 37 * (step % 7), 1.6 + step % 5 / 10
        text = f"INFO servers.embedding: batch of {texts} texts, {tokens} tokens, {took:.1f} ms"
        yield 40.0 - step, "stdout", text


def _restarted_log() -> Iterator[Row]:
    diagnosis = "logs/diagnosis/inference.1-generation-1.txt"
    yield 11_396.0, "lucid", "generation 1 started, pid 29188"
    yield 4_204.0, "lucid", f"about to be ended: no answer to 3 probes; see {diagnosis}"
    yield 4_203.6, "lucid", "generation 1 ended: killed by signal 9 after 7190.8 s"
    yield 4_203.5, "lucid", "generation 2 started, pid 29304"


def _llm_log() -> Iterator[Row]:
    for step in range(5):
        yield 37.5 - 8 * step, "stderr", f"INFO loader: shard {3 + step} of 12 ({(3 + step) * 5.1:.1f} GB)"


def _indexer_log() -> Iterator[Row]:
    for failure, ago in ((1, 28.3), (2, 13.2)):
        yield ago, "lucid", f"generation {failure} started, pid {32_010 + failure}"
        yield ago - 0.2, "stderr", "INFO connecting to /srv/share"
        yield ago - 4.1, "stderr", f"OSError: {TROUBLE}"
        yield ago - 4.2, "lucid", f"generation {failure} ended: exited 1 after 4.1 s"


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
