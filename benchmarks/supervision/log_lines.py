"""Row: lines that are in no file after a service wrote a million in a minute and ended."""

from __future__ import annotations

import re
import time
from typing import Any

from benchmarks.supervision.figures import wait_until
from benchmarks.supervision.systems import Service, System, python_child

__all__ = ["measure"]

_LINE = re.compile(rb"line (\d{8}) x{60}$", re.MULTILINE)
IS_WRITTEN_WITHIN_S = 5.0


def measure(system: System, lines: int, seconds: float) -> dict[str, Any]:
    """Count what the files hold, rotated ones too."""
    service = Service("counted", python_child("count", str(lines), str(seconds), str(system.folder / "done")))
    began = time.monotonic()
    system.start([service])
    wait_until((system.folder / "done").exists, 10)
    wait_until(lambda: _tail_is_there(system, service, lines), seconds + 20, 0.2)
    took_s = time.monotonic() - began
    wait_until(lambda: len(set(_numbers(system, service))) == lines, IS_WRITTEN_WITHIN_S, 0.5)
    numbers = _numbers(system, service)
    return {
        "lines": lines,
        "seconds": round(took_s, 1),
        "lost": lines - len(set(numbers)),
        "doubled": len(numbers) - len(set(numbers)),
        "files": len(system.log_files(service)),
    }


def _numbers(system: System, service: Service) -> list[int]:
    return [
        int(found[1]) for path in system.log_files(service) for found in _LINE.finditer(path.read_bytes())
    ]


def _tail_is_there(system: System, service: Service, lines: int) -> bool:
    """Whether the last line has arrived; looks at the ends of the files only."""
    for path in system.log_files(service):
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - 4096))
            if b"line %08d" % lines in file.read():
                return True
    return False
