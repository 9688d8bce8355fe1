"""Nothing acknowledged is lost when the process is killed, at whatever moment (kill -9, again and again)."""

import os
import random
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from servers.memory.store.sqlite import SqliteStore
from tests.servers.memory.crash_loop import run_crash_loop
from tests.servers.memory.doubles import make_memory

ROOT = Path(__file__).parents[3]
WRITER = Path(__file__).with_name("crash_writer.py")
ENVIRON = {
    **{key: value for key, value in os.environ.items() if not key.startswith(("LUCID_", "LISTEN_"))},
    "PYTHONPATH": str(ROOT),
}


def store_until_killed(folder: Path, name: str, writers: int, acknowledgements: int) -> list[str]:
    """Let a process store, kill it as soon as so many were acknowledged, and return all that were."""
    command = [sys.executable, str(WRITER), str(folder), name, str(writers)]
    with subprocess.Popen(command, cwd=ROOT, env=ENVIRON, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        acknowledged = [process.stdout.readline() for _ in range(acknowledgements)]
        process.kill()
        # What is in the pipe when the kill lands was acknowledged too; a cut last line was not.
        acknowledged += [line for line in process.stdout if line.endswith(b"\n")]
    assert process.returncode == -9
    return [line.decode().strip() for line in acknowledged]


@pytest.mark.parametrize("seed", range(8))
def test_a_killed_writer_loses_nothing_it_acknowledged(tmp_path: Path, seed: int) -> None:
    """After two kills at random moments every acknowledged memory is there once, bit for bit."""
    rng = random.Random(seed)
    acknowledged: list[str] = []
    for name in ("first", "second"):
        acknowledged += store_until_killed(tmp_path, f"{name}{seed}", rng.randint(1, 6), rng.randint(1, 300))
    with closing(SqliteStore(tmp_path)) as store:
        present = [memory_id for step in store.scan(1000) for memory_id in step.ids]
        found = store.find_many(present)
        damaged = store.info().damaged_rows
    assert set(acknowledged) <= set(present)
    assert len(present) == len(set(present))
    assert damaged == 0
    for memory_id, memory in found.items():
        expected = make_memory(memory_id)
        assert memory.text == expected.text
        assert memory.vector.tobytes() == expected.vector.tobytes()


@pytest.mark.parametrize("seed", range(5))
async def test_a_server_killed_again_and_again_loses_nothing_it_acknowledged(
    tmp_path: Path, seed: int
) -> None:
    """Two hundred kills in all: every acknowledged memory is there, once, whole, and found by a search."""
    account = await run_crash_loop(tmp_path, runs=40, seed=seed)
    assert account.acknowledged > 200
    assert (account.lost, account.doubled, account.torn, account.unsearchable) == (set(), set(), set(), set())
