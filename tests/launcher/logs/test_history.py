"""Looking back through the log files: matches from before, and how the last processes ended."""

from pathlib import Path

import pytest

from launcher.logs.follower import Follower
from launcher.logs.history import read_exits, search_history
from launcher.logs.records import LogFilter, smart_case


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two children with rotated files: memory counts 0 to 29 over three files, inference wrote one
    traceback.
    """
    for number, name in enumerate(("memory.log.2", "memory.log.1", "memory.log")):
        rows = range(number * 10, number * 10 + 10)
        (tmp_path / name).write_text("".join(line(row, f"INFO row {row}") for row in rows))
    (tmp_path / "inference.log").write_text(
        line(5, "Traceback (most recent call last):", "stderr") + line(5, "  File x", "stderr")
        + line(5, "ValueError: y", "stderr") + line(6, "INFO well")
    )  # fmt: skip
    return tmp_path


def line(second: int, text: str, stream: str = "stdout") -> str:
    """One line of a log file."""
    return f"2026-11-23T14:02:{second:02d}.000000Z {stream} | {text}\n"


def test_matches_are_found_across_rotated_files(folder: Path) -> None:
    """The last matches come oldest first, from as many files as it takes."""
    wanted = LogFilter(smart_case(r"row \d*[09]$"))
    found = search_history(folder, (), wanted.wants, 4, {})
    assert [each.text for each in found.lines] == ["INFO row 10", "INFO row 19", "INFO row 20", "INFO row 29"]
    assert found.back_to is None


def test_errors_come_with_their_traceback(folder: Path) -> None:
    """A search by level finds the whole block, in its order."""
    found = search_history(folder, (), LogFilter(least_level=40).wants, 10, {})
    assert [each.text for each in found.lines] == [
        "Traceback (most recent call last):",
        "  File x",
        "ValueError: y",
    ]


def test_a_fruitless_search_gives_up_and_says_where(folder: Path) -> None:
    """After so many lines it stops, and names the time that it came to."""
    found = search_history(folder, ("memory",), LogFilter(smart_case("nothing")).wants, 4, {}, most_lines=12)
    assert found.lines == []
    assert found.back_to == "2026-11-23T14:02:18.000000Z"


def test_what_came_after_the_ends_is_left_to_the_follower(folder: Path) -> None:
    """Nothing is found twice: lines after the place where following began are not searched."""
    follower = Follower(folder, ())
    try:
        ends = follower.ends()
        with open(folder / "memory.log", "a") as file:
            file.write(line(40, "INFO row 40"))
        found = search_history(folder, ("memory",), LogFilter().wants, 1, ends)
        assert [each.text for each in found.lines] == ["INFO row 29"]
        assert [each.text for each in follower.poll()] == ["INFO row 40"]
    finally:
        follower.close()


def test_exits_are_read_from_the_markers(folder: Path) -> None:
    """Newest first, each with its diagnosis where there is one, and no more than asked for."""
    with open(folder / "memory.log", "a") as file:
        for number in range(1, 5):
            file.write(line(40 + number, f"generation {number} started, pid 1{number}", "lucid"))
            if number == 3:
                file.write(line(43, "about to be ended: no answer; see /x/memory-generation-3.txt", "lucid"))
            if number < 4:
                file.write(
                    line(40 + number, f"generation {number} ended: exited {number} after 4.1 s", "lucid")
                )
        file.write(line(45, "generation 9 ended: said by the child", "stdout"))
    exits = read_exits(folder, "memory", 2)
    assert [(each.generation, each.how, each.diagnosis) for each in exits] == [
        (3, "exited 3 after 4.1 s", "/x/memory-generation-3.txt"),
        (2, "exited 2 after 4.1 s", None),
    ]
    assert read_exits(folder, "nobody", 5) == []
