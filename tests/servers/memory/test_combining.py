"""Questions answered together: who shares an answer, and whose error is whose."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from servers.memory.combining import Combining


class Answering:
    """Notes which questions came together; can be held, and refuses the question "bad"."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)

    def __call__(self, questions: Sequence[str]) -> list[str]:
        """Answer in capitals."""
        self.groups.append(list(questions))
        self.entered.release()
        self.gate.wait()
        if "bad" in questions:
            raise ValueError("bad")
        return [question.upper() for question in questions]


def asked_behind(
    combining: Combining[str, str], answering: Answering, *questions: str
) -> "list[Future[str]]":
    """Ask "first", and the questions while its answer is made; returns what became of all of them."""
    answering.gate.clear()
    asked = [combining.ask("first")]
    answering.entered.acquire()
    asked += map(combining.ask, questions)
    answering.gate.set()
    return asked


def test_a_lone_question_is_answered_at_once() -> None:
    """Nobody else needs to ask, however often."""
    answering = Answering()
    with ThreadPoolExecutor(1) as executor:
        combining = Combining(answering, executor)
        assert [combining.ask(one).result() for one in "ab"] == ["A", "B"]
    assert answering.groups == [["a"], ["b"]]


def test_who_asks_while_an_answer_is_made_shares_the_next() -> None:
    """All that came during one answer are answered together, each with its own."""
    answering = Answering()
    with ThreadPoolExecutor(1) as executor:
        asked = asked_behind(Combining(answering, executor), answering, "a", "b")
        assert [one.result() for one in asked] == ["FIRST", "A", "B"]
    assert answering.groups == [["first"], ["a", "b"]]


def test_an_error_reaches_only_the_question_that_causes_it() -> None:
    """After a failure the questions are answered one by one; later ones are answered as ever."""
    answering = Answering()
    with ThreadPoolExecutor(1) as executor:
        combining = Combining(answering, executor)
        asked = asked_behind(combining, answering, "a", "bad")
        assert [asked[0].result(), asked[1].result()] == ["FIRST", "A"]
        with pytest.raises(ValueError, match="bad"):
            asked[2].result()
        assert combining.ask("again").result() == "AGAIN"
