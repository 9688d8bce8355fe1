"""Row: the wall time of the command that shows the state of four services, whole process."""

from __future__ import annotations

import subprocess
import time
from typing import Any

from benchmarks.supervision.figures import percentiles_ms, wait_until
from benchmarks.supervision.systems import Service, System

__all__ = ["measure"]


def measure(system: System, runs: int) -> dict[str, Any]:
    """Run it so often, one after the other, after one that does not count."""
    system.start([Service(f"s{number}", ("/bin/sleep", "1000000")) for number in range(4)])
    wait_until(lambda: len(system.children()) == 4, 10)
    argv = system.status_argv()
    took_s = []
    for _ in range(runs + 1):
        began = time.monotonic()
        subprocess.run(
            argv,
            cwd=system.folder,
            env=system.environ,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            check=True,
        )
        took_s.append(time.monotonic() - began)
    return percentiles_ms(took_s[1:])
