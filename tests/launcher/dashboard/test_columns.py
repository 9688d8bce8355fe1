"""The dashboard's table fits every width, and keeps names and states."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from launcher.dashboard.columns import table_lines
from launcher.terminal.rows import rows_of
from tests.launcher.control_double import all_ready, child, crash_looping, service, status, two_services


def no_samples(child: str) -> list[float | None]:
    """Nothing is known of the last minute."""
    return []


DOCUMENTS = [two_services(), all_ready(), crash_looping()]


@given(st.sampled_from(DOCUMENTS), st.integers(24, 240), st.integers(0, 1))
def test_no_line_is_wider_than_the_screen(document: dict[str, object], width: int, selected: int) -> None:
    """From 24 columns on every line fits."""
    lines = table_lines(rows_of(document), width, selected, lambda child: [1.0, 2.0])
    assert all(cell_len(line.plain) <= width for line in lines)


@given(st.integers(40, 240))
def test_names_and_states_are_always_there(width: int) -> None:
    """From 40 columns on each row has its name, its glyph and the beginning of its word."""
    header, first, second = (
        line.plain for line in table_lines(rows_of(two_services()), width, 0, no_samples)
    )
    assert "SERVICE" in header
    assert first.startswith("> inference")
    assert "● ready" in first
    assert second.startswith("  memory")
    assert "◐ start" in second


@pytest.mark.parametrize("name", ["a-service-with-a-really-long-name-indeed", "名前の長いサービス"])
def test_long_names_do_not_break_the_layout(name: str) -> None:
    """Long or wide names are cut, not wrapped."""
    document = status()
    document["services"] = {name: service(child(name))}
    for width in (40, 60, 92, 130):
        assert all(
            cell_len(line.plain) <= width for line in table_lines(rows_of(document), width, 0, no_samples)
        )


def test_the_sparkline_grows_with_the_screen() -> None:
    """A wide screen shows more of the last minute."""
    history: dict[str, list[float | None]] = {"inference": [float(number % 7) for number in range(60)]}
    at = {
        width: table_lines(rows_of(all_ready()), width, 0, lambda child: history.get(child, []))[
            1
        ].plain.split()[-1]
        for width in (121, 160)
    }
    assert 0 < len(at[121]) < len(at[160])
