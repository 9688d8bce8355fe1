"""A disk that is really full: the service goes on, what is lost is counted to the line, and said."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.supervised_stack import Document, SupervisedStack, hostile

LINES = 20_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A `logs` folder with 256 KiB of room; skipped where nothing may be mounted."""
    folder = tmp_path / "logs"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("a small disk can only be mounted by root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def stack(tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SupervisedStack]:
    """A stack whose logs go there."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    stack = SupervisedStack(tmp_path)
    yield stack
    stack.close()


def test_a_full_disk_costs_lines_and_nothing_else(stack: SupervisedStack, small_disk: Path) -> None:
    """The child is neither blocked nor ended; the count is exact, in status and in the file once there is
    room.
    """
    flood = hostile("--flood", str(LINES), "--ready")
    logs = "logs: {max_size: 10MB, backups: 1}"
    stack.write(f"  a: {{command: {flood}, health: {{notify: true}}, {logs}}}\n")
    stack.start()
    stack.wait_state("a", "ready")

    def is_complete(child: Document) -> bool:
        written = (small_disk / "a.log").read_text().count(" stdout | line ")
        return bool(written + child["log_lines_dropped"] == LINES)

    lost = stack.wait_for("a", is_complete)["log_lines_dropped"]
    assert 0 < lost < LINES
    subprocess.run(["mount", "-o", "remount,size=16m", small_disk], check=True)
    stack.ask("stop", services=["a"])
    assert stack.wait_state("a", "stopped")["last_exit"]["code"] == 0
    text = (small_disk / "a.log").read_text()
    told = re.findall(r"lucid \| (\d+) lines? w\w+ lost, as .*: No space left on device$", text, re.MULTILINE)
    assert sum(map(int, told)) == lost
    assert text.splitlines()[-2].endswith("stdout | last words")
    numbers = [int(found) for found in re.findall(r"line (\d{8}) x{80}$", text, re.MULTILINE)]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == LINES - lost
