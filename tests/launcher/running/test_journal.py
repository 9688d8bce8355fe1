"""launcher.running.journal: what is written down, what is believed, and whom the sweep may end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher.procfs import boot_id, read_stat
from launcher.running.journal import Journal, JournalEntry, read_journal, sweep, write_journal
from launcher.running.slots import Slots, read_slots

NONCE = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """The place of a journal that is not there yet."""
    return tmp_path / "journal.json"


@pytest.fixture
def orphan() -> Iterator[subprocess.Popen[bytes]]:
    """A process that carries the nonce and waits for ever."""
    argv = [sys.executable, "-c", "import signal; print(flush=True); signal.pause()"]
    with subprocess.Popen(argv, env={"LUCID_NONCE": NONCE}, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_round_trip(journal: Path) -> None:
    """What is written is read back; nothing is left beside the file."""
    entries = [JournalEntry("a", 12, 345, NONCE), JournalEntry("b.0", 13, 346, NONCE[::-1])]
    write_journal(journal, entries, NONCE, {"revision": 7})
    assert read_journal(journal) == (Journal(entries, NONCE, {"revision": 7}), None)
    assert [path.name for path in journal.parent.iterdir()] == ["journal.json"]


def test_missing_journal_is_empty(journal: Path) -> None:
    """A first start has nothing to clean."""
    assert read_journal(journal) == (Journal(), None)
    assert sweep(journal) == []


@given(content=st.binary(max_size=200) | st.text().map(str.encode))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_garbage_is_set_aside(journal: Path, content: bytes) -> None:
    """Any unreadable journal is kept under another name and never acted on."""
    journal.write_bytes(content)
    found, note = read_journal(journal)
    assert found == Journal()
    assert note is not None
    assert not journal.exists()


@pytest.mark.parametrize("entry", [{"pid": "1"}, {"nonce": ""}, {"nonce": None}, {"child": 5}, {"x": 1}])
def test_entries_of_the_wrong_type_are_refused(journal: Path, entry: dict[str, object]) -> None:
    """One wrong field and the whole file is set aside."""
    good: dict[str, object] = {"child": "a", "pid": 1, "started_ticks": 1, "nonce": NONCE}
    document = {"version": 2, "boot_id": boot_id(), "stack_nonce": "", "state": None}
    slots = Slots(journal)
    slots.write(json.dumps(document | {"entries": [good]}).encode())
    assert read_journal(journal)[0].entries != []
    slots.write(json.dumps(document | {"entries": [good | entry]}).encode())
    slots.close()
    assert read_journal(journal)[0] == Journal()


def test_sweep_ends_what_carries_the_nonce(journal: Path, orphan: subprocess.Popen[bytes]) -> None:
    """An orphan is found by its nonce, whatever its pid, is ended and named."""
    write_journal(journal, [JournalEntry("a", 1, 1, NONCE)])
    (note,) = sweep(journal)
    assert f"pid {orphan.pid}" in note
    assert "of a" in note
    assert orphan.wait() == -9
    assert sweep(journal) == []


def test_sweep_finds_what_the_journal_did_not_hear_of(journal: Path) -> None:
    """A process that was started after the last word carries the stack's nonce, and names its child."""
    argv = [sys.executable, "-c", "import signal; print(flush=True); signal.pause()"]
    environ = {"LUCID_NONCE": f"{NONCE}.0123", "LUCID_CHILD": "late"}
    write_journal(journal, [], NONCE)
    with subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (note,) = sweep(journal)
        assert process.wait() == -9
    assert "of late" in note


def test_sweep_never_touches_a_stranger(journal: Path, orphan: subprocess.Popen[bytes]) -> None:
    """A process with the recorded pid and start time and another nonce is left alone."""
    facts = read_stat(orphan.pid)
    assert facts is not None
    write_journal(journal, [JournalEntry("a", orphan.pid, facts.started_ticks, NONCE[::-1])])
    assert sweep(journal) == []
    assert orphan.poll() is None


def test_another_boot_is_not_believed(journal: Path, orphan: subprocess.Popen[bytes]) -> None:
    """After a reboot the journal names nobody."""
    write_journal(journal, [JournalEntry("a", orphan.pid, 1, NONCE)])
    text = read_slots(journal)
    assert text is not None
    slots = Slots(journal)
    slots.write(text.replace(boot_id().encode(), b"00000000-0000-0000-0000-000000000000"))
    slots.close()
    assert sweep(journal) == []
    assert orphan.poll() is None
    assert os.path.exists(journal)
