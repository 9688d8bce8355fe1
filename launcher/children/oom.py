"""Whether the kernel's out-of-memory killer has struck in our control group.

A process that it kills ends by SIGKILL like any other; only the group's counter tells. Where there is no such
counter (no memory controller, or the root group) the answer is always no, never a guess.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["OomCounter"]


class OomCounter:
    """Counts the kills of one control group since it was last asked."""

    def __init__(self, events: Path | None) -> None:
        """Read `events` (memory.events of cgroup v2, memory.oom_control of v1); None has no counter."""
        self._events = events
        self._seen = self._read()

    @classmethod
    def of_this_process(cls) -> OomCounter:
        """Return the counter of the group that this process, and so its children, belongs to."""
        for line in _read_text(Path("/proc/self/cgroup")).splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0":
                candidate = Path("/sys/fs/cgroup") / path.lstrip("/") / "memory.events"
            elif "memory" in controllers.split(","):
                candidate = Path("/sys/fs/cgroup/memory") / path.lstrip("/") / "memory.oom_control"
            else:
                continue
            if candidate.exists():
                return cls(candidate)
        return cls(None)

    def has_risen(self) -> bool:
        """Whether there was a kill since the last call."""
        before, self._seen = self._seen, self._read()
        return self._seen > before

    def _read(self) -> int:
        text = "" if self._events is None else _read_text(self._events)
        for line in text.splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill" and count.isdigit():
                return int(count)
        return 0


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""
