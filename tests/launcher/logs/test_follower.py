"""Following the log folder: every line once and in order, whatever the writer does between two looks."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.logs.follower import Follower
from launcher.logs.reader import read_all, read_last
from launcher.logs.records import LogFilter

EVERYTHING = LogFilter()
STEPS = st.lists(st.sampled_from(["write", "half", "rotate", "poll"]), max_size=40)


class Writer:
    """Writes numbered lines and rotates like the supervisor, keeping every backup."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "memory.log"
        self.count = 0
        self._open_half = ""
        self.path.touch()

    def write(self) -> None:
        """One whole line."""
        self._finish_half()
        self._append(f"{self._head()}{self.count}\n")
        self.count += 1

    def half(self) -> None:
        """The beginning of a line, to be finished by the next step that writes."""
        self._finish_half()
        self._append(self._head())
        self._open_half = f"{self.count}\n"
        self.count += 1

    def rotate(self) -> None:
        """Move every file one number up and begin a new one."""
        self._finish_half()
        for number in range(len(list(self.folder.iterdir())) - 1, 0, -1):
            os.rename(self.folder / f"memory.log.{number}", self.folder / f"memory.log.{number + 1}")
        os.rename(self.path, self.folder / "memory.log.1")
        self.path.touch()

    def _finish_half(self) -> None:
        self._append(self._open_half)
        self._open_half = ""

    def _head(self) -> str:
        return f"2026-11-23T14:02:20.{self.count:06d}Z stdout | "

    def _append(self, text: str) -> None:
        with open(self.path, "a") as file:
            file.write(text)


# The disk decides how long one example takes.
@settings(deadline=None)
@given(STEPS, STEPS)
def test_past_and_future_meet_without_gap_or_double(before: list[str], after: list[str]) -> None:
    """History up to the follower's start plus what it polls is every line exactly once, in order."""
    with TemporaryDirectory() as name:
        writer = Writer(Path(name))
        for step in before:
            if step != "poll":
                getattr(writer, step)()
        follower = Follower(writer.folder, ())
        try:
            ends = follower.ends()
            followed = []
            for step in after:
                if step == "poll":
                    followed += follower.poll()
                else:
                    getattr(writer, step)()
            past = list(read_all(writer.folder, (), EVERYTHING, ends))
            assert read_last(writer.folder, (), EVERYTHING, 10_000, ends) == past
            writer.write()
            followed += follower.poll()
        finally:
            follower.close()
        assert [int(line.text) for line in [*past, *followed]] == list(range(writer.count))


def test_a_limit_spreads_a_backlog_over_several_looks(tmp_path: Path) -> None:
    """With a small limit nothing is lost, it only comes later."""
    writer = Writer(tmp_path)
    follower = Follower(tmp_path, ())
    for _ in range(50):
        writer.write()
    looks = [follower.poll(200) for _ in range(40)]
    follower.close()
    assert max(len(lines) for lines in looks) < 10
    assert [int(line.text) for lines in looks for line in lines] == list(range(50))


def test_keeping_up_skips_a_backlog_and_says_so(tmp_path: Path) -> None:
    """A viewer that must keep up gets the newest lines and a note about the rest, rotation or not."""
    writer = Writer(tmp_path)
    follower = Follower(tmp_path, ())
    for number in range(500):
        writer.write()
        if number == 250:
            writer.rotate()
    note, *lines = follower.poll(400, keep_up=True)
    follower.close()
    assert note.is_marker
    assert "skipped" in note.text
    assert [int(line.text) for line in lines] == list(range(500 - len(lines), 500))
    assert 0 < len(lines) < 12


def test_a_child_that_appears_is_followed_from_its_first_line(tmp_path: Path) -> None:
    """A service that is added later is not missed."""
    follower = Follower(tmp_path, ())
    assert follower.poll() == []
    (tmp_path / "late.log").write_text("2026-11-23T14:02:20.000001Z stderr | hello\n")
    lines = follower.poll()
    follower.close()
    assert [(line.child, line.stream, line.text) for line in lines] == [("late", "stderr", "hello")]
