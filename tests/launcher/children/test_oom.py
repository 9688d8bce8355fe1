"""launcher.children.oom: the counter of the out-of-memory killer."""

from __future__ import annotations

from pathlib import Path

from launcher.children.oom import OomCounter


def test_a_rise_is_told_once(tmp_path: Path) -> None:
    """Only kills since the last question count."""
    events = tmp_path / "memory.events"
    events.write_text("low 0\noom 3\noom_kill 2\n")
    counter = OomCounter(events)
    assert not counter.has_risen()
    events.write_text("low 0\noom 4\noom_kill 3\n")
    assert counter.has_risen()
    assert not counter.has_risen()


def test_without_a_counter_nothing_is_guessed(tmp_path: Path) -> None:
    """No control group, a file that vanished, or one without the line: never a kill."""
    empty = tmp_path / "memory.oom_control"
    empty.write_text("under_oom 0\noom_kill x\n")
    for counter in (OomCounter(None), OomCounter(tmp_path / "gone"), OomCounter(empty)):
        assert not counter.has_risen()
    assert not OomCounter.of_this_process().has_risen()
