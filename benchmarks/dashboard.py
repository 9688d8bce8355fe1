"""What the dashboard costs: how long until it is seen, then CPU share of one core and memory under log lines.

    python -m benchmarks.dashboard [--seconds 20] [--rates 0 20 1000 10000] [--starts 9]

A double of the supervisor publishes a snapshot each second, a writer appends to two log files, and the
dashboard runs in a pseudo terminal of 130 x 40 cells that is read as fast as it is written. Each is a
process of its own; only the CPU time of the dashboard is counted, from /proc, after it has settled. The first
paint is the first output that holds a row of the table, measured from the spawn. Writes
`results/dashboard.json` (only the first paint in it anew where `--rates` names none); exits 1 when a bound
does not hold: 3 % idle, 10 % at up to 1000 lines a second, 0.6 s of processor time to the first paint.
"""

import argparse
import fcntl
import json
import multiprocessing
import os
import platform
import pty
import select
import struct
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from websockets.exceptions import ConnectionClosed

RESULT = Path(__file__).parent / "results" / "dashboard.json"
SETTLE_S = 4.0
RATES = (0, 20, 1000, 10_000)
# Lines a second -> percent of one core, as a median.
BOUNDS = {0: 3.0, 20: 10.0, 1000: 10.0}
FIRST_PAINT_CPU_S = 0.6
# The name of a service of the double, which nothing but its row shows.
ROW = b"inference"
SIZE = struct.pack("HHHH", 40, 130, 0, 0)
WORDS = "INFO servers.embedding.worker: batch of 32 texts, 812 tokens, 1.8 ms in the model, 0.2 ms waiting"


def main() -> int:
    """Measure every rate, print and write the figures; 1 when a bound does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rates", type=int, nargs="*", default=RATES)
    parser.add_argument("--starts", type=int, default=9)
    options = parser.parse_args()
    document: dict[str, Any] = json.loads(RESULT.read_text("utf-8")) if RESULT.exists() else {}
    document["first_paint"] = first_paint(options.starts)
    if options.rates:
        rows = [measure(rate, options.seconds) for rate in options.rates]
        document |= {"machine": machine(), "seconds": options.seconds, "rows": rows}
    text = json.dumps(document, indent=2)
    print(text)
    RESULT.write_text(text + "\n")
    measured = [document["first_paint"], *(document["rows"] if options.rates else [])]
    return 0 if all(row["holds"] for row in measured) else 1


def first_paint(starts: int) -> dict[str, Any]:
    """Wall and processor seconds from the spawn of `lucid-launch dashboard` to a row of its table."""
    wall_s, cpu_s = [], []
    with a_stack() as (folder, environment), supervised(folder, 0):
        for _ in range(starts):
            began = time.monotonic()
            with spawned(folder, environment) as (pid, terminal):
                read_until(terminal, ROW)
                wall_s.append(time.monotonic() - began)
                cpu_s.append(cpu_seconds(pid))
    return {
        "machine": machine(),
        "starts": starts,
        "cpu_s_bound": FIRST_PAINT_CPU_S,
        "holds": median(cpu_s) < FIRST_PAINT_CPU_S,
        "wall_s_median": round(median(wall_s), 3),
        "wall_s_max": round(max(wall_s), 3),
        "cpu_s_median": round(median(cpu_s), 3),
    }


def read_until(terminal: int, wanted: bytes) -> None:
    """Read what is drawn until `wanted` was among it; raises OSError when the dashboard ends before."""
    seen = b""
    while wanted not in seen:
        seen += os.read(terminal, 1 << 16)


def machine() -> dict[str, object]:
    """What the figures depend on."""
    from importlib.metadata import version

    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "textual": version("textual"),
        "load": os.getloadavg()[0],
    }


def measure(rate: int, seconds: float) -> dict[str, Any]:
    """CPU percent of one core and RSS of a dashboard while `rate` lines a second come."""
    with a_stack() as (folder, environment), supervised(folder, rate), dashboard(folder, environment) as pid:
        pause(SETTLE_S)
        shares = list(cpu_shares(pid, seconds))
        rss = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    bound = BOUNDS.get(rate)
    return {
        "lines_per_second": rate,
        "cpu_percent_bound": bound,
        "holds": bound is None or median(shares) < bound,
        "cpu_percent_median": round(median(shares), 1),
        "cpu_percent_max": round(max(shares), 1),
        "rss_mb": round(rss / 1e6, 1),
    }


@contextmanager
def a_stack() -> Iterator[tuple[Path, Mapping[str, str]]]:
    """A folder with a config file, a runtime folder and logs, and the environment that belongs to it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "run").mkdir(mode=0o700)
        (folder / "logs").mkdir()
        (folder / "config.yaml").write_text("project: lucid\n")
        yield folder, {**os.environ, "XDG_RUNTIME_DIR": str(folder / "run"), "TERM": "xterm-256color"}


def cpu_shares(pid: int, seconds: float, step_s: float = 2.0) -> Iterator[float]:
    """CPU percent of one core over each step."""
    used, began = cpu_seconds(pid), time.monotonic()
    deadline = began + seconds
    while time.monotonic() < deadline:
        pause(step_s)
        now_used, now = cpu_seconds(pid), time.monotonic()
        yield 100 * (now_used - used) / (now - began)
        used, began = now_used, now


def pause(seconds: float) -> None:
    """Let time pass: this is what is measured over."""
    select.select([], [], [], seconds)


def cpu_seconds(pid: int) -> float:
    """User and system time of one process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def supervised(folder: Path, rate: int) -> Iterator[None]:
    """A supervisor's double and a log writer, each in its own process."""
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    helpers = [context.Process(target=publish, args=(folder, ready), daemon=True)]
    helpers += [context.Process(target=write, args=(folder, rate), daemon=True)] if rate else []
    for helper in helpers:
        helper.start()
    ready.wait(30)
    try:
        yield
    finally:
        for helper in helpers:
            helper.kill()
            helper.join()


def publish(folder: Path, ready: "multiprocessing.synchronize.Event") -> None:
    """A snapshot a second, as a supervisor sends while it is watched."""
    os.environ["XDG_RUNTIME_DIR"] = str(folder / "run")
    from tests.launcher.control_double import ControlDouble, all_ready

    double = ControlDouble(folder / "config.yaml", all_ready())
    ready.set()
    while True:
        pause(1)
        with suppress(ConnectionClosed):  # the viewer may leave at any time
            double.publish({**all_ready(), "at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")})


def write(folder: Path, rate: int) -> None:
    """`rate` lines a second over two files, ten times a second."""
    files = [open(folder / "logs" / f"{name}.log", "a") for name in ("memory", "inference")]  # noqa: SIM115 - for good
    number = 0
    while True:
        for _ in range(max(1, rate // 10)):
            at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            files[number % 2].write(f"{at} stdout | {WORDS} #{number}\n")
            number += 1
        for file in files:
            file.flush()
        pause(0.1 if rate >= 10 else 1 / rate)


@contextmanager
def spawned(folder: Path, environment: Mapping[str, str]) -> Iterator[tuple[int, int]]:
    """The dashboard in a pseudo terminal: its pid, and the terminal to read; it is left by `q`."""
    pid, terminal = pty.fork()
    if pid == 0:
        argv = [sys.executable, "-m", "launcher", "-C", str(folder), "dashboard"]
        os.execve(sys.executable, argv, environment)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, SIZE)
    try:
        yield pid, terminal
    finally:
        os.write(terminal, b"q")
        drain_until_closed(terminal)
        os.waitpid(pid, 0)


@contextmanager
def dashboard(folder: Path, environment: Mapping[str, str]) -> Iterator[int]:
    """The dashboard in a pseudo terminal that is always read; gives its pid."""
    with spawned(folder, environment) as (pid, terminal):
        stop = threading.Event()
        reader = threading.Thread(target=drain, args=(terminal, stop))
        reader.start()
        try:
            yield pid
        finally:
            stop.set()
            reader.join()


def drain(terminal: int, stop: threading.Event) -> None:
    """Read what is drawn until told to stop."""
    while not stop.is_set():
        if select.select([terminal], [], [], 0.2)[0]:
            os.read(terminal, 1 << 16)


def drain_until_closed(terminal: int) -> None:
    """Read the rest of what is drawn."""
    try:
        while os.read(terminal, 1 << 16):
            pass
    except OSError:
        os.close(terminal)


if __name__ == "__main__":
    sys.exit(main())
