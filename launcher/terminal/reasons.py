"""Why a child is not ready, in the lines that stand under the table: the reason, its last words, the mend.

Pure; everything that a child wrote is made harmless here.
"""

from collections.abc import Mapping
from typing import Any

from launcher.terminal import cells
from launcher.terminal.sanitize import clean

TAIL_LINES = 8
QUOTED = "  │ "
"""What stands before a line that a child wrote."""

_EXIT_WORDS = {
    "killed": "was killed",
    "oom": "was killed for memory (out of memory)",
    "startup_timeout": "did not become ready within its startup budget",
    "unhealthy": "stopped answering its health probe",
    "spawn_failed": "could not be started",
    "memory_limit": "went over its memory limit",
    "vram_limit": "went over its limit of GPU memory",
    "open_files_limit": "had no open files left",
    "wrong_device": "did not compute on the GPU that it was given",
}


def has_reason(child: Mapping[str, Any]) -> bool:
    """Whether there is more to say than the state: a start or a restart that was asked for explains
    itself.
    """
    if child.get("reason") or child.get("state") == "failed":
        return True
    last_exit = child.get("last_exit")
    if not last_exit:
        return False
    return child.get("state") in ("backoff", "unhealthy") or bool(child.get("consecutive_failures"))


def reason_lines(child: Mapping[str, Any]) -> list[str]:
    """A headline, then the last stderr lines (each after `│`), then where to look."""
    name = clean(str(child.get("name", "?")))
    lines = [f"{name}  {headline(child)}"]
    last_exit = child.get("last_exit") or {}
    tail = last_exit.get("stderr_tail") or []
    lines += [f"{QUOTED}{clean(str(line))}" for line in tail[-TAIL_LINES:]]
    if last_exit.get("diagnosis"):
        lines.append(f"  diagnosis: {clean(str(last_exit['diagnosis']))}")
    if last_exit or child.get("state") == "failed":
        lines.append(f"  hint: full log with  lucid-launch logs {name}" + _retry_hint(child))
    return lines


def headline(child: Mapping[str, Any]) -> str:
    """One sentence: the state, and the best reason that is known for it."""
    words = cells.state_words(child)
    reason = child.get("reason")
    if reason:
        return f"{words}: {clean(str(reason))}"
    last_exit = child.get("last_exit")
    return f"{words}: {exit_sentence(last_exit)}" if last_exit else words


def exit_sentence(last_exit: Mapping[str, Any]) -> str:
    """`exited 1 after 4.1s`, `was killed by signal 9 after 12s`."""
    after = "" if last_exit.get("after_s") is None else f" after {cells.duration(last_exit['after_s'])}"
    kind = last_exit.get("reason")
    if kind == "exited":
        return f"exited {last_exit.get('code')}{after}"
    signal = "" if last_exit.get("signal") is None else f" by signal {last_exit['signal']}"
    words = _EXIT_WORDS.get(str(kind), f"ended ({clean(str(kind))})")
    return f"{words}{signal if kind == 'killed' else ''}{after}"


def _retry_hint(child: Mapping[str, Any]) -> str:
    """The second command that helps: another try once the cause is gone."""
    service = str(child.get("name", "")).partition(".")[0]
    return f" ; try again with  lucid-launch restart {service}" if child.get("state") == "failed" else ""
