"""The memory server with a budget of memory beside the same server without: resident memory, time, answers.

Both run at once over copies of one store, with the default model, and are asked the same texts in turn. What
the index takes is the resident memory beyond that of a server over an empty store. "Cold" searches are asked
after the files of the index were thrown out of the machine's memory, as where other programs need it.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from benchmarks.memory_data import build_store
from benchmarks.memory_serving import Served, server
from benchmarks.texts import short_texts

BUDGETS = ("512MiB", "256MiB")
WARM_UP = 5
ASKED = 60
ASKED_COLD = 5
FACTS = ("mode", "exact", "memory_bytes", "blocks", "blocks_in_files", "blocks_loaded")
TOP = 10


def measure(data: Path, rows: int) -> dict[str, Any]:
    """Return, for each budget, figures of the server without and with it, and how many answers differ."""
    folder = data / f"rows-{rows}"
    build_store(folder, rows)
    found: dict[str, Any] = {"rows": rows, "budgets": " ".join(BUDGETS)}
    with tempfile.TemporaryDirectory(dir=data) as place:
        limited = Path(place) / "limited"
        limited.mkdir(mode=0o700)
        shutil.copy(folder / "memory.db", limited)
        with server(Path(place) / "empty") as served:
            _asked(served, short_texts(WARM_UP))
            found["empty_mb"] = served.resident_mb()
        for budget in BUDGETS:
            with server(limited, index_memory=budget) as served:
                found[f"{budget} first_ready_s"] = served.ready_s
            found[budget] = _beside(folder, limited, budget, found["empty_mb"])
    return found


def _beside(folder: Path, limited: Path, budget: str, empty_mb: float) -> dict[str, Any]:
    """The figures of both servers, which are asked in turn."""
    texts = short_texts(WARM_UP + ASKED)
    with ExitStack() as stack:
        servers = {
            "unlimited": stack.enter_context(server(folder)),
            "limited": stack.enter_context(server(limited, index_memory=budget)),
        }
        connections = {
            name: stack.enter_context(connect(f"ws://127.0.0.1:{served.port}", max_size=None))
            for name, served in servers.items()
        }
        times: dict[str, list[float]] = {name: [] for name in servers}
        unlike = 0
        for number, text in enumerate(texts):
            answers = {name: _retrieve(connection, text) for name, connection in connections.items()}
            unlike += answers["limited"][1] != answers["unlimited"][1]
            if number >= WARM_UP:
                for name, (milliseconds, _) in answers.items():
                    times[name].append(milliseconds)
        cold = [_cold_ms(limited, connections["limited"], text) for text in texts[-ASKED_COLD:]]
        figures: dict[str, Any] = {
            "asked": len(texts),
            "unlike": unlike,
            "limited_cold_search_ms": statistics.median(cold),
        }
        for name, served in servers.items():
            figures |= {
                f"{name}_ready_s": served.ready_s,
                f"{name}_search_ms": statistics.median(times[name]),
                f"{name}_index_mb": served.resident_mb() - empty_mb,
            }
            index = _exchange(connections[name], {"type": "stats"})["stats"]["index"]
            figures |= {f"{name}_{fact}": index[fact] for fact in FACTS}
        return figures


def _cold_ms(folder: Path, connection: ClientConnection, text: str) -> float:
    """The milliseconds of a search that finds none of the index's files in memory."""
    for file in (folder / "index").rglob("*.npy"):
        fd = os.open(file, os.O_RDONLY)
        os.fdatasync(fd)  # only what is on the disk can be thrown out
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)
    return _retrieve(connection, text)[0]


def _asked(served: Served, texts: list[str]) -> None:
    with connect(f"ws://127.0.0.1:{served.port}") as connection:
        for text in texts:
            _retrieve(connection, text)


def _retrieve(connection: ClientConnection, text: str) -> tuple[float, list[str]]:
    """The milliseconds of one search, without embedding, and the ids that it found."""
    reply = _exchange(connection, {"type": "retrieve", "timing": True, "data": {"query": text, "count": TOP}})
    return reply["timing"]["search_ms"], [memory["id"] for memory in reply["memories"]]


def _exchange(connection: ClientConnection, request: dict[str, Any]) -> Any:
    connection.send(json.dumps(request))
    reply = json.loads(connection.recv())
    if reply["status"] != "success":
        raise RuntimeError(str(reply)[:300])
    return reply
