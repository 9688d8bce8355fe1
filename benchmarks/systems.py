"""Starts the systems under test, one at a time, each in a process of its own, and stops them again.

Decides commands and readiness only; loads are `benchmarks.load`'s. Loopback, ephemeral ports.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.load import Plan
from servers.embedding.models import find_model

MODEL = "all-MiniLM-L6-v2"
READY_S = 180.0
POLL_S = 0.1
_QUIET = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0"}


@dataclass(frozen=True)
class System:
    """A running server: where to ask it, in which shape, and its process."""

    url: str
    kind: str
    port: int
    pid: int

    def plan(self, **fields: Any) -> Plan:
        """Return a plan against this server."""
        return Plan(**{"url": self.url, "kind": self.kind, **fields})

    def get(self, path: str) -> str:
        """Return the body of a GET."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as reply:
            return str(reply.read().decode())

    def cpu_seconds(self) -> float:
        """Return the CPU time that the process has used, all threads together."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mb(self) -> float:
        """Return the resident memory of the process in MiB."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return round(pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20), 1)


@contextmanager
def ours(backend: str, door: str = "websocket", **options: Any) -> Iterator[System]:
    """This project's inference server with an engine and options, asked by `websocket` or `openai`."""
    settings = {"backend": backend, **options}
    argv = [sys.executable, "-m", "servers.inference"]
    with _running(argv, {"LUCID_OPTIONS": json.dumps(settings)}, "/readyz") as (port, pid):
        if door == "openai":
            yield System(f"http://127.0.0.1:{port}/v1/embeddings", "openai", port, pid)
        else:
            yield System(f"ws://127.0.0.1:{port}/", "embeddings", port, pid)


@contextmanager
def replicas(backend: str, count: int) -> Iterator[list[System]]:
    """So many of this project's inference servers on one port, under the launcher; all have that address."""
    with tempfile.TemporaryDirectory() as folder:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = int(free.getsockname()[1])
        keys = {"server": "inference", "port": port, "port_mode": "shared", "replicas": count, "gpu": "none"}
        services = {"inference": {**keys, "options": {"backend": backend}}}
        Path(folder, "config.yaml").write_text(json.dumps({"services": services}))

        def launch(*verb: str) -> str:
            argv = [sys.executable, "-m", "launcher", "-C", folder, *verb]
            environ = {**os.environ, **_QUIET, "XDG_RUNTIME_DIR": folder}
            return subprocess.run(argv, env=environ, check=True, stdout=subprocess.PIPE, text=True).stdout

        launch("-q", "up", "-d", "--wait")
        try:
            children = json.loads(launch("status", "--json"))["services"]["inference"]["children"]
            address = f"ws://127.0.0.1:{port}/"
            yield [System(address, "embeddings", port, child["pid"]) for child in children]
        finally:
            launch("-q", "down")


@contextmanager
def seed_style() -> Iterator[System]:
    """The server that encodes in its handler."""
    argv = [sys.executable, "-m", "benchmarks.seed_style_server"]
    with _running([*argv, "{port}", _folder()], {}, None) as (port, pid):
        yield System(f"ws://127.0.0.1:{port}/", "embeddings", port, pid)


@contextmanager
def infinity(venv: Path) -> Iterator[System]:
    """infinity-emb with its torch engine in float32, from its own virtual environment."""
    argv = [str(venv / "bin" / "infinity_emb"), "v2", "--model-id", _folder(), "--served-model-name", MODEL]
    argv += ["--engine", "torch", "--device", "cpu", "--dtype", "float32", "--no-bettertransformer"]
    argv += ["--host", "127.0.0.1", "--port", "{port}"]
    with _running(argv, {}, "/health") as (port, pid):
        yield System(f"http://127.0.0.1:{port}/embeddings", "openai", port, pid)


def run_load(plan: Plan) -> dict[str, Any]:
    """Carry a plan out in a process of its own and return its figures."""
    return json.loads(_load(plan).communicate()[0])  # type: ignore[no-any-return]  # what `run` returned


def run_loads(plans: Sequence[Plan]) -> list[dict[str, Any]]:
    """Carry several plans out at once, each in a process of its own; return their figures."""
    return [json.loads(load.communicate()[0]) for load in [_load(plan) for plan in plans]]


@contextmanager
def load_beside(plan: Plan) -> Iterator[None]:
    """Keep a plan going, in a process of its own, for as long as the block takes."""
    process = _load(plan)
    try:
        yield
    finally:
        process.kill()
        process.communicate()


def _load(plan: Plan) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "benchmarks.load", json.dumps(vars(plan))]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def _folder() -> str:
    return str(find_model(MODEL).path)


@contextmanager
def _running(
    argv: list[str], environ: Mapping[str, str], ready_path: str | None
) -> Iterator[tuple[int, int]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    command = [part.replace("{port}", str(port)) for part in argv]
    process = subprocess.Popen(
        command,
        env={**os.environ, **_QUIET, "PORT": str(port), **environ},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until_ready(process, port, ready_path)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, path: str | None) -> None:
    ends = time.monotonic() + READY_S
    while time.monotonic() < ends:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode} instead of getting ready")
        if _answers(port, path):
            return
        time.sleep(POLL_S)
    raise TimeoutError(f"the server was not ready within {READY_S:g} s")


def _answers(port: int, path: str | None) -> bool:
    try:
        if path is None:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False
