"""The steps of `up` on a terminal: lines redrawn in place, cut to the width."""

import io

from launcher.terminal.phase_times import PhaseTimes
from launcher.terminal.step_list import StepList, address_lines, step_line
from tests.launcher.control_double import all_ready, child, crash_looping, two_services


def steps(width: int = 80, *, ascii_only: bool = False) -> tuple[StepList, io.StringIO]:
    """A step list on a string."""
    stream = io.StringIO()
    return StepList(stream, lambda: width, color=False, ascii_only=ascii_only), stream


def test_a_starting_child_has_phase_bar_and_percentage() -> None:
    """Everything about a start stands in one line."""
    line = step_line(two_services()["services"]["memory"]["children"][0])
    assert "memory" in line
    assert "open-store" in line
    assert "62%" in line
    assert "█" in line


def test_lines_are_redrawn_in_place() -> None:
    """The second picture moves the cursor up by the lines of the first."""
    shown, stream = steps()
    shown.snapshot(two_services())
    shown.snapshot(all_ready())
    first, _, second = stream.getvalue().partition("\x1b[2A")
    assert "62%" in first
    assert "memory       ready in 6.0 s   open-store 6.0" in second
    assert "inference    ready, up 3h11m" in second


def test_the_phases_of_a_start_are_told_once_it_is_ready() -> None:
    """Each phase with its seconds, from what was seen; the figures stand still afterwards."""
    shown, stream = steps(100)
    for seconds, state, phase in (
        (0.1, "starting", "import"),
        (2.1, "starting", "load-model"),
        (3.4, "ready", None),
    ):
        document = all_ready()
        document["services"]["memory"]["children"][0].update(uptime_s=seconds, state=state, phase=phase)
        shown.snapshot(document)
    document["services"]["memory"]["children"][0]["uptime_s"] = 60.0
    shown.snapshot(document)
    last = stream.getvalue().rpartition("\x1b[2A")[2]
    assert "ready in 3.4 s   import 2.1 · load-model 1.3" in last


def test_a_narrow_terminal_is_told_the_longest_phases() -> None:
    """In the order in which they happened, as many as fit; an ellipsis says that there were more."""
    times = PhaseTimes()
    for seconds, phase in ((0.0, "spawn"), (0.2, "import"), (2.3, "warmup"), (2.9, "load-model")):
        times.take({"generation": 1, "state": "starting", "phase": phase, "uptime_s": seconds})
    times.take({"generation": 1, "state": "ready", "phase": None, "uptime_s": 4.2})
    assert times.text() == "ready in 4.2 s   spawn 0.2 · import 2.1 · warmup 0.6 · load-model 1.3"
    assert times.text(69) == times.text()
    assert times.text(62) == "ready in 4.2 s   import 2.1 · warmup 0.6 · load-model 1.3 · …"
    assert times.text(50) == "ready in 4.2 s   import 2.1 · load-model 1.3 · …"
    assert times.text(35) == "ready in 4.2 s   import 2.1 · …"
    assert times.text(20) == "ready in 4.2 s"


def test_what_a_long_phase_is_about_is_told_beside_it() -> None:
    """The end of a STATUS that begins with phase and percentage; with and without a bar."""
    starting = child("memory", "starting", pid=1, phase="measure", uptime_s=6.0)
    told = "measure: which engine is fastest here"
    assert step_line({**starting, "detail": told}).endswith("6s  which engine is fastest here")
    told = "measure 62%: which engine is fastest here"
    line = step_line({**starting, "progress": 0.62, "detail": told})
    assert line.endswith("62%  6s  which engine is fastest here")
    assert step_line({**starting, "detail": "measure 62%"}).endswith("6s")


def test_a_new_generation_is_timed_anew() -> None:
    """A restart while it is watched does not add to the start before."""
    shown, stream = steps(100)
    for generation, seconds, state in ((1, 5.0, "starting"), (2, 0.1, "starting"), (2, 1.5, "ready")):
        document = all_ready()
        document["services"]["memory"]["children"][0].update(
            generation=generation, uptime_s=seconds, state=state, phase="import"
        )
        shown.snapshot(document)
    assert "ready in 1.5 s   import 1.5" in stream.getvalue()


def test_before_it_is_ready_the_next_step_is_to_wait() -> None:
    """`up -d` does not offer what would fail while the model loads."""
    text = "\n".join(address_lines(two_services(), is_ready=False))
    assert "ws://localhost:5000" in text
    assert "lucid-launch wait" in text
    assert "selftest" not in text


def test_no_line_is_wider_than_the_terminal() -> None:
    """A long reason is cut, since a wrapped line would break the redrawing."""
    shown, stream = steps(30)
    document = crash_looping()
    document["services"]["memory"]["children"][0]["reason"] = "x" * 200
    shown.snapshot(document)
    rows = stream.getvalue().replace("\x1b[2K", "").replace("\x1b[J", "").replace("\r", "").splitlines()
    assert all(len(row) < 30 for row in rows)


def test_ascii_terminals_get_ascii() -> None:
    """Without UTF-8 no glyph is written."""
    shown, stream = steps(ascii_only=True)
    shown.snapshot(two_services())
    assert stream.getvalue().isascii()


def test_addresses_and_the_next_step() -> None:
    """The end names every address, the console, and a command to try."""
    text = "\n".join(address_lines(all_ready()))
    for part in (
        "ws://localhost:5005",
        "ws://localhost:5000",
        "http://localhost:5000/",
        "lucid-launch selftest",
    ):
        assert part in text


def test_what_does_not_fit_stands_one_below_the_other() -> None:
    """An address that was broken could not be copied."""
    assert len(address_lines(all_ready(), width=130)) == 3
    assert address_lines(all_ready(), width=60)[2:] == [
        "  try     lucid-launch selftest",
        '          lucid-launch call inference embeddings text="hello"',
    ]
    assert address_lines(all_ready(), width=40)[:2] == [
        "  inference ws://localhost:5005",
        "  memory ws://localhost:5000",
    ]


def test_nothing_is_proposed_for_an_inference_server_that_was_never_started() -> None:
    """It has no address."""
    document = {"services": {"inference": {"server": "inference", "url": None, "port": None, "children": []}}}
    assert address_lines(document) == []


def test_a_service_without_address_is_left_out() -> None:
    """A stack of plain commands has no addresses to tell."""
    assert address_lines({"services": {"job": {"url": None, "children": [child("job")]}}}) == []
