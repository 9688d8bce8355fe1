"""`python -m servers.memory` as a process: option checks, refusals with exit codes, a clean stop."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from servers.memory.store.lock import FolderLock

ROOT = Path(__file__).parents[3]
ENVIRON = {key: value for key, value in os.environ.items() if not key.startswith(("LUCID_", "LISTEN_"))}


def run(*argv: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    """Run the module to its end."""
    return subprocess.run(
        [sys.executable, "-m", "servers.memory", *argv],
        cwd=ROOT,
        env=ENVIRON,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_good_options_pass_the_check(tmp_path: Path) -> None:
    """Nothing to say means an empty list and exit code 0."""
    done = run("--check-options", stdin=json.dumps({"backend": "debug", "path": str(tmp_path)}))
    assert (done.returncode, json.loads(done.stdout)) == (0, [])


def test_bad_options_are_listed(tmp_path: Path) -> None:
    """Every problem has its place, and the exit code says not to retry."""
    done = run("--check-options", stdin=json.dumps({"pth": str(tmp_path), "half_life_days": 0}))
    assert done.returncode == 78
    assert {tuple(problem["loc"]) for problem in json.loads(done.stdout)} == {("pth",), ("half_life_days",)}


def test_checking_options_loads_nothing_heavy() -> None:
    """The check must stay quick: neither torch nor the web stack is imported for it."""
    script = (
        'import sys, io; sys.stdin = io.StringIO(\'{"backend": "debug"}\'); '
        "from servers.memory.__main__ import main; code = main(['--check-options']); "
        "print(code, sorted({'torch', 'transformers', 'uvicorn', 'starlette', 'apsw'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=ENVIRON, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "0 []"


def test_a_folder_in_use_ends_with_78_and_the_holder(tmp_path: Path) -> None:
    """The message names who has the store open and what to do."""
    lock = FolderLock(tmp_path / "memory.lock")
    done = run("--backend", "debug", "--path", str(tmp_path), "--port", "0")
    lock.release()
    assert done.returncode == 78
    assert f"process {os.getpid()}" in done.stderr
    assert "fix:" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    """The process ends with 0 and leaves one file that is complete by itself, no log beside it."""
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "servers.memory",
            "--backend",
            "debug",
            "--path",
            str(tmp_path),
            "--port",
            "0",
        ],
        cwd=ROOT,
        env=ENVIRON,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        assert any("ready on cpu" in line for line in lines)
        process.send_signal(number)
        process.communicate(timeout=30)
    assert process.returncode == 0
    assert {file.name for file in tmp_path.iterdir()} == {"memory.db", "memory.db-ballast", "memory.lock"}
