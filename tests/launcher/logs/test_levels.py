"""How urgent a line is, as the programs of the field write it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.logs.levels import DEBUG, ERROR, INFO, WARNING, LevelTracker, level_of, leveled, leveled_back
from launcher.logs.records import LogLine


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("INFO lucid: the memory server: import", INFO),
        ("2026-11-23 14:02:20,655 WARNING root: low", WARNING),
        ("[W 14:02:20 app] WARN low", WARNING),
        ("level=error msg=broken", ERROR),
        ('{"level": "debug", "text": "x"}', DEBUG),
        ("[error] 12#0: upstream timed out", ERROR),
        ("ERROR x", ERROR),
        ("CRITICAL: gone", ERROR),
        ("Traceback (most recent call last):", ERROR),
        ("ValueError: x", ERROR),
        ("sqlite3.OperationalError: database is locked", ERROR),
        ("KeyboardInterruptExit", ERROR),
        ("error: unrecognized arguments", ERROR),
        ("nginx: error: bad", ERROR),
        ("thread 'main' panicked at src/main.rs:4", ERROR),
        ("errors=0 terror", None),
        ("served 12 requests without any error at all", None),
        ("", None),
        ("x" * 200 + " ERROR too late to be the level", None),
    ],
)
def test_levels_of_common_formats(text: str, level: int | None) -> None:
    """The word near the beginning decides; the same word as somebody's text does not."""
    assert level_of(text) == level


def lines(*texts: str, stream: str = "stderr") -> list[LogLine]:
    """Lines of one child."""
    return [LogLine("m", f"{number:04d}", stream, text) for number, text in enumerate(texts)]


def test_a_traceback_belongs_together() -> None:
    """The indented lines under an error are as urgent as the error; the next line is judged anew."""
    block = lines(
        "INFO fine", "Traceback (most recent call last):", '  File "x.py"', "    y()", "KeyError: 1", "on"
    )
    assert [line.level for line in leveled(block)] == [INFO, ERROR, ERROR, ERROR, ERROR, INFO]


def test_streams_and_children_do_not_mix() -> None:
    """An indented line goes on with its own stream, whatever another one said in between."""
    tracker = LevelTracker()
    tracker.leveled(LogLine("m", "1", "stderr", "ERROR x"))
    assert tracker.leveled(LogLine("m", "2", "stdout", "  indented")).level == INFO
    assert tracker.leveled(LogLine("n", "3", "stderr", "  indented")).level == INFO
    assert tracker.leveled(LogLine("m", "4", "stderr", "  indented")).level == ERROR


TEXTS = st.sampled_from(
    ["INFO a", "ERROR b", "  more", "\tmore", "plain", "Traceback (most recent call last):"]
)
LINES = st.lists(st.tuples(TEXTS, st.sampled_from(["stdout", "stderr", "lucid"])), max_size=30)


@given(LINES)
def test_backwards_finds_the_same_levels(parts: list[tuple[str, str]]) -> None:
    """Reading newest first gives every line the level that reading forwards gives it, and loses none."""
    given_lines = [LogLine("m", f"{number:04d}", stream, text) for number, (text, stream) in enumerate(parts)]
    forwards = sorted(leveled(given_lines), key=lambda line: line.at)
    backwards = sorted(leveled_back(reversed(given_lines)), key=lambda line: line.at)
    assert backwards == forwards


def test_an_endless_block_is_let_go() -> None:
    """Thousands of indented lines in a row are not held back for ever."""
    block = lines(*["  indented"] * 2500)
    passed = leveled_back(iter(reversed(block)), most_held=1000)
    assert next(passed).at == "2499"
