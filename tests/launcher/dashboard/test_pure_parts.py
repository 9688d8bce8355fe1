"""The parts of the dashboard that are functions from a snapshot to text: history, GPUs, solo view,
commands.
"""

import pytest
from rich.cells import cell_len

from docs.generate import demo
from launcher.dashboard.columns import in_order
from launcher.dashboard.gpu_lines import gpu_lines
from launcher.dashboard.history import History
from launcher.dashboard.keys import LOG_KEYS, STACK_KEYS, help_text, key_line
from launcher.dashboard.palette import entries, matching
from launcher.dashboard.solo import Solo, example_lines, solo_lines
from launcher.dashboard.timeline import event_log_line
from launcher.dashboard.view import View
from launcher.logs.history import ExitMark
from launcher.terminal.rows import rows_of
from tests.launcher.control_double import all_ready, child, service, status, two_services


@pytest.fixture(scope="module")
def view() -> View:
    """Two minutes of the stack of the documentation."""
    view = View()
    for document in demo.documents():
        view.take(document)
    return view


def test_history_counts_seconds_and_never_invents() -> None:
    """Two snapshots of one second are one sample, and what is unknown is None."""
    history = History(samples=3)
    for second in (1, 1, 2, 3, 4):
        history.take({**two_services(), "at": f"2026-11-23T14:02:{second:02d}.5Z"})
    assert history.of("inference", "per_second") == [533.0, 533.0, 533.0]
    assert history.of("memory", "p99") == [None, None, None]
    assert history.of("nobody", "p99") == []


def test_gpu_lines_say_who_runs_where(view: View) -> None:
    """Each GPU has its load, memory, temperature and power, and the children that live on it."""
    assert view.document is not None
    first, second = (line.plain for line in gpu_lines(view.document, view.history, 130))
    for figure in ("GPU 0 H200", "80%", "18.2G/131G", "54°C", "371 W", "memory, inference.0, inference.1"):
        assert figure in first
    assert second.endswith("llm")


def test_without_gpus_there_are_no_lines() -> None:
    """A CPU machine has no empty row for what it lacks; unknown figures are left out or a dash."""
    assert gpu_lines({**all_ready(), "gpus": []}, History(), 130) == []
    line = gpu_lines(all_ready(), History(), 130)[0].plain
    assert "  -" in line
    assert "°C" not in line


@pytest.mark.parametrize(
    ("column", "names"),
    [
        (None, ["memory", "inference.0", "inference.1", "llm", "indexer"]),
        ("SERVICE", ["indexer", "inference.0", "inference.1", "llm", "memory"]),
        ("STATE", ["indexer", "llm", "memory", "inference.0", "inference.1"]),
        ("REQ/S", ["inference.0", "inference.1", "memory", "llm", "indexer"]),
        ("RST", ["indexer", "inference.1", "memory", "inference.0", "llm"]),
    ],
)
def test_sorting(view: View, column: str | None, names: list[str]) -> None:
    """Names from a to z, the worst state first, the largest figure first and the unknown last."""
    assert view.document is not None
    assert [row.child for row in in_order(rows_of(view.document), column)] == names


def test_the_selection_stays_with_its_service() -> None:
    """Sorting moves the selected row, not the selection; a child that has gone gives it back to the first."""
    view = View()
    view.take(two_services())
    view.move(1)
    view.turn_sort(-1, 130)
    assert view.sort is not None
    assert view.selected == "memory"
    view.take(status(other=service(child("other"))))
    assert view.selected == "other"


def test_a_click_selects_the_row_under_it(view: View) -> None:
    """The header selects nothing, a row selects itself, also when the table is scrolled."""
    view.selected = "memory"
    view.select_line(0, 10)
    assert view.selected == "memory"
    view.select_line(2, 10)
    assert view.selected == "inference.0"
    view.selected = "indexer"
    view.select_line(1, 3)
    assert view.selected == "llm"
    view.selected = "memory"


def solo_of(view: View, name: str) -> Solo:
    """What the solo view knows of a child."""
    assert view.document is not None
    services = view.document["services"].items()
    service_name, document, found = next(
        (key, each, kid) for key, each in services for kid in each["children"] if kid["name"] == name
    )
    exits = [ExitMark("2026-11-23T12:52:17.055123Z", 1, "killed by signal 9 after 7190.8 s", "logs/d.txt")]
    return Solo(service_name, document, found, view.history, exits, {demo.FIRST: "GPU 0 H200"})


def test_the_solo_view_has_figures_exits_and_examples(view: View) -> None:
    """Who it is, seven figures with their past, the last exits with their diagnosis, lines to copy."""
    lines = [line.plain for line in solo_lines(solo_of(view, "inference.1"), 140, 40)]
    text = "\n".join(lines)
    for part in ("● ready", "pid 29304", "generation 2", "cuda:0", "GPU 0 H200", "p99 ms", "vram", "queue"):
        assert part in text
    assert "generation 1  killed by signal 9 after 7190.8 s   diagnosis logs/d.txt" in text
    assert 'lucid-launch call inference embeddings text="hello"' in text
    assert all(cell_len(line) <= 140 or "curl" in line for line in lines)


@pytest.mark.parametrize("height", range(1, 20))
def test_the_solo_view_leaves_out_whole_sections(view: View, height: int) -> None:
    """However few rows there are, no section is cut in half, and the name is always there."""
    lines = [line.plain for line in solo_lines(solo_of(view, "inference.1"), 140, height)]
    assert len(lines) <= height
    assert "inference.1" in lines[0]
    assert ("─ try " in lines) == any("curl" in line for line in lines)


def test_examples_fit_the_service() -> None:
    """A command without a port has nothing to ask, one with a port is asked by HTTP."""
    assert example_lines("job", service(child("job"))) == ["lucid-launch logs job -f"]
    assert example_lines("web", service(child("web"), port=8000))[0] == "curl -i http://localhost:8000/"


def test_every_key_is_explained_once_and_can_be_found() -> None:
    """Help has every key; no two keys of one place are the same; the palette finds commands by words."""
    assert all(key.text in help_text().plain for key in (*STACK_KEYS, *LOG_KEYS))
    bound = [name for keys in (STACK_KEYS, LOG_KEYS) for key in keys for name in key.keys.split(",")]
    assert len(bound) == len(set(bound))
    found = matching(entries(rows_of(two_services())), "memory rest")
    assert [each.action for each in found] == ["do('order', ('restart', 'memory'))"]


@pytest.mark.parametrize("width", [10, 40, 92, 130, 300])
def test_the_line_of_keys_fits(width: int) -> None:
    """As many keys as fit, how to leave first."""
    assert len(key_line(width)) <= width
    assert width < 20 or "q leave" in key_line(width).plain


def test_an_event_is_a_line() -> None:
    """States, sentence and urgency of a change of state."""
    line = event_log_line(demo.events()[-1])
    assert line.text.startswith("↻ starting → backoff")
    assert "failure 2 of 5" in line.text
    assert line.level == 40
    assert event_log_line(demo.events()[-1], ascii_only=True).text.startswith("[retry] starting -> backoff")
