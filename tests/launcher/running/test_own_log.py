"""launcher.running.own_log, in processes of their own, as it moves their stdout and stderr."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

WRITER = """
import sys
from pathlib import Path
from launcher.running.own_log import OwnLog

log = OwnLog(Path(sys.argv[1]), max_size_bytes=100, backups=2)
for number in range(int(sys.argv[2]), int(sys.argv[3])):
    log.write(b"line %03d ........................................\\n" % number)
print("crash", file=sys.stderr)
"""


def write(path: Path, first: int, last: int, out: Path) -> None:
    """Lines from a process whose stdout and stderr are appended to `out`."""
    with open(out, "ab") as file:
        argv = [sys.executable, "-c", WRITER, str(path), str(first), str(last)]
        subprocess.run(argv, stdout=file, stderr=file, check=True)


def test_the_file_is_rotated_and_a_crash_is_still_told(tmp_path: Path) -> None:
    """No line is lost between the files, none of them is large, and stderr went along."""
    path = tmp_path / "supervisor.log"
    write(path, 0, 7, path)
    files = [path.with_name("supervisor.log.2"), path.with_name("supervisor.log.1"), path]
    lines = [line.split()[1] for file in files for line in file.read_text().splitlines() if "line" in line]
    assert lines == [f"{number:03d}" for number in range(1, 7)] or lines == [f"{n:03d}" for n in range(7)]
    assert all(file.stat().st_size <= 200 for file in files)
    assert path.read_text().endswith("crash\n")


def test_who_was_given_a_rotated_file_goes_on_in_the_current_one(tmp_path: Path) -> None:
    """A supervisor that is started again by a guardian with old descriptors."""
    path = tmp_path / "supervisor.log"
    path.write_text("current\n")
    old = tmp_path / "supervisor.log.1"
    old.write_text("old\n")
    write(path, 0, 1, old)
    assert old.read_text() == "old\n"
    assert path.read_text().splitlines()[0] == "current"
    assert path.read_text().endswith("crash\n")


def test_output_that_goes_elsewhere_is_left_alone(tmp_path: Path) -> None:
    """Another file is never rotated."""
    other = tmp_path / "foreground.txt"
    write(tmp_path / "supervisor.log", 0, 9, other)
    assert len(other.read_text().splitlines()) == 10
    assert list(tmp_path.iterdir()) == [other]
