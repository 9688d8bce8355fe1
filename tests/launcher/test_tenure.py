"""launcher.tenure: what the end of a supervisor means, in every case."""

from __future__ import annotations

from itertools import product

import pytest

from launcher.tenure import Tenure


def begun(*, was_up: bool = False, is_up: bool = True, word: str = "") -> Tenure:
    """A tenure in which one supervisor runs, has come up or not, and has said this."""
    tenure = Tenure(was_up)
    tenure.begin(100.0)
    if is_up:
        tenure.come_up()
    if word:
        tenure.announce(word)
    return tenure


def test_reasons() -> None:
    """The next supervisor hears why it starts."""
    assert Tenure(was_up=False).reason == "start"
    assert Tenure(was_up=True).reason == "guardian_lost"
    for word, reason in (("", "died"), ("reload", "reload")):
        tenure = begun(word=word)
        tenure.pause_after_end_s(is_killed=False, now_s=101.0)
        assert tenure.reason == reason


@pytest.mark.parametrize(
    ("was_up", "is_up", "word"), list(product((True, False), (True, False), ("", "reload", "end")))
)
def test_who_is_the_last(was_up: bool, is_up: bool, word: str) -> None:
    """Nothing follows one that says so, nor a first one that never came up."""
    is_last = word == "end" or not (was_up or is_up)
    assert begun(was_up=was_up, is_up=is_up, word=word).is_last == is_last


def test_a_word_counts_for_one_supervisor_only() -> None:
    """The next one has said nothing yet."""
    tenure = begun(word="reload")
    tenure.pause_after_end_s(is_killed=False, now_s=101.0)
    tenure.begin(102.0)
    assert (tenure.is_reloading, tenure.is_ending, tenure.is_up) == (False, False, False)


@pytest.mark.parametrize(("was_up", "is_up"), list(product((True, False), repeat=2)))
def test_who_hears_signals(was_up: bool, is_up: bool) -> None:
    """One that is up handles them, and the first may end by them; any other would lose them."""
    assert begun(was_up=was_up, is_up=is_up).hears_signals == (is_up or not was_up)


def test_what_is_excused_is_not_counted() -> None:
    """A reload, and SIGKILL to one that was up, are followed at once and for ever."""
    tenure = begun()
    for _ in range(50):
        assert tenure.pause_after_end_s(is_killed=True, now_s=101.0) == 0.0
        tenure.begin(102.0)
        tenure.come_up()
        tenure.announce("reload")
        assert tenure.pause_after_end_s(is_killed=False, now_s=103.0) == 0.0
        tenure.begin(104.0)
        tenure.come_up()
    assert tenure.crashes == 0


@pytest.mark.parametrize("how", ["crash", "killed before it was up", "refused"])
def test_what_is_not_excused_comes_to_an_end(how: str) -> None:
    """Crashes, starts that somebody kills, and starts that cannot be are tried a few times, then no more."""
    tenure = begun(is_up=how == "crash")
    tenure.come_up()
    pauses = []
    while not pauses or pauses[-1] is not None:
        if how == "refused":
            pauses.append(tenure.pause_after_refusal_s())
            continue
        tenure.begin(0.0)
        if how == "crash":
            tenure.come_up()
        pauses.append(tenure.pause_after_end_s(is_killed=how != "crash", now_s=1.0))
    assert pauses == [0.0, 0.25, 0.5, 1.0, 2.0, None]


def test_a_supervisor_that_never_came_up_does_not_count_as_a_long_one() -> None:
    """However long its start took, it begins no new row of crashes."""
    tenure = begun(was_up=True, is_up=False)
    for _ in range(5):
        assert tenure.pause_after_end_s(is_killed=False, now_s=1e6) is not None
        tenure.begin(100.0)
    assert tenure.pause_after_end_s(is_killed=False, now_s=1e6) is None
