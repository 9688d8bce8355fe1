"""Which columns the dashboard's table has at a width, and its rows as styled text.

Pure: rows and numbers in, text out. Figures are never dropped by cutting: a narrower terminal has fewer
columns.
"""

from collections.abc import Mapping, Sequence

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from launcher.terminal import cells
from launcher.terminal.rows import Row

SPARK = "REQ/S 60 s"
SPARK_WIDTH = 12
SPARK_SAMPLES = 60
LEFT_ALIGNED = frozenset({"SERVICE", "STATE", "GPU", SPARK})
_MIDDLE = (
    "SERVICE",
    "STATE",
    "UPTIME",
    "RST",
    "PORT",
    "GPU",
    "CPU%",
    "RSS",
    "VRAM",
    "REQ/S",
    "P50",
    "P99",
    "QUEUE",
)
_NARROW = ("SERVICE", "STATE", "UPTIME", "PORT", "GPU", "VRAM", "REQ/S", "P99")
_TINY = ("SERVICE", "STATE", "P99")
# The narrowest terminal that each set is for (ux: 130, 92, 60 and 40 columns are the sizes that are tested).
LAYOUTS = ((120, (*_MIDDLE, "PID", "HEALTH", SPARK)), (92, _MIDDLE), (60, _NARROW), (0, _TINY))
# Dropped first when a set does not fit after all (long names, long states).
_EXPENDABLE = (
    SPARK,
    "HEALTH",
    "PID",
    "QUEUE",
    "P50",
    "UPTIME",
    "RSS",
    "CPU%",
    "VRAM",
    "RST",
    "REQ/S",
    "GPU",
    "PORT",
    "P99",
)
CURSOR = "> "


def table_lines(
    rows: Sequence[Row], width: int, selected: int, history: Mapping[str, list[float]]
) -> list[Text]:
    """A header and a line per row that fit into `width` cells; the selected row is marked and reversed."""
    table = [_with_spark(row, history) for row in rows]
    columns = columns_for(table, width)
    widths = [_width(table, column) for column in columns]
    _shrink(widths, columns, width)
    header = Text(" " * len(CURSOR), style="bold", no_wrap=True, overflow="crop")
    header.append(_joined(columns, columns, widths))
    lines = [header]
    for position, (row, values) in enumerate(zip(rows, table, strict=True)):
        lines.append(_line(row, values, columns, widths, position == selected))
    return lines


def columns_for(table: Sequence[Mapping[str, str]], width: int) -> list[str]:
    """The columns of the widest layout for `width`, without those that would not fit beside long names."""
    columns = list(next(layout for least, layout in LAYOUTS if width >= least))
    for column in _EXPENDABLE:
        needed = len(CURSOR) + sum(_width(table, each) + 2 for each in columns) - 2
        if needed <= width or len(columns) <= len(_TINY):
            break
        if column in columns:
            columns.remove(column)
    return columns


def _with_spark(row: Row, history: Mapping[str, list[float]]) -> dict[str, str]:
    """The row's cells and its sparkline."""
    return {**row.cells, SPARK: cells.sparkline(history.get(row.child, []), SPARK_WIDTH)}


def _width(table: Sequence[Mapping[str, str]], column: str) -> int:
    """The cells that a column needs."""
    least = SPARK_WIDTH if column == SPARK else len(column)
    return max([least, *(cell_len(values[column]) for values in table)])


def _shrink(widths: list[int], columns: Sequence[str], width: int) -> None:
    """Take from STATE, then from SERVICE, what does not fit even with the fewest columns."""
    for column, least in (("STATE", 6), ("SERVICE", 6)):
        position = columns.index(column)
        excess = len(CURSOR) + sum(widths) + 2 * (len(widths) - 1) - width
        if excess > 0:
            widths[position] = max(least, widths[position] - excess)


def _joined(values: Sequence[str], columns: Sequence[str], widths: Sequence[int]) -> str:
    """Values as one padded line."""
    return "  ".join(
        _fit(value, column, size) for value, column, size in zip(values, columns, widths, strict=True)
    )


def _fit(value: str, column: str, size: int) -> str:
    """One value in exactly `size` cells."""
    if cell_len(value) > size:
        return set_cell_size(value, max(size - 1, 0)) + "…"
    return set_cell_size(value, size) if column in LEFT_ALIGNED else " " * (size - cell_len(value)) + value


def _line(
    row: Row, values: Mapping[str, str], columns: Sequence[str], widths: Sequence[int], is_selected: bool
) -> Text:
    """One row as text: mark, state in its colour, old and unknown figures dimmed."""
    line = Text(CURSOR if is_selected else " " * len(CURSOR), no_wrap=True, overflow="crop")
    for position, (column, size) in enumerate(zip(columns, widths, strict=True)):
        line.append("  " if position else "")
        line.append(_fit(values[column], column, size), style=_style(row, column, values[column]))
    if is_selected:
        line.stylize("reverse")
    return line


def _style(row: Row, column: str, value: str) -> str:
    """The style of one cell."""
    if column == "STATE":
        return cells.COLORS.get(row.state, "")
    if column == "SERVICE":
        return "bold"
    if column == "PORT" and value.endswith("!"):
        return "yellow"
    return "dim" if row.is_stale or value == cells.UNKNOWN else ""
