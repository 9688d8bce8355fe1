"""Which columns the dashboard's table has at a width, and its rows as styled text.

Pure: rows and numbers in, text out. Figures are never dropped by cutting: a narrower terminal has fewer
columns.
"""

from collections.abc import Mapping, Sequence

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from launcher.terminal import cells
from launcher.terminal.rows import Row

SPARK = "60 s"
# Cells of the sparkline of request rates: at least, at most.
SPARK_WIDTHS = (8, 24)
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
    columns = columns_for(rows, width)
    widths = [_width(rows, column) for column in columns]
    _use_whole_width(widths, columns, width)
    header = Text(" " * len(CURSOR), style="bold", no_wrap=True, overflow="crop")
    header.append(_joined(columns, columns, widths))
    lines = [header]
    for position, row in enumerate(rows):
        values = {**row.cells, SPARK: cells.sparkline(history.get(row.child, []), SPARK_WIDTHS[1])}
        lines.append(_line(row, values, columns, widths, position == selected))
    return lines


def columns_for(rows: Sequence[Row], width: int) -> list[str]:
    """The columns of the widest layout for `width`, without those that would not fit beside long names."""
    columns = list(next(layout for least, layout in LAYOUTS if width >= least))
    for column in _EXPENDABLE:
        needed = len(CURSOR) + sum(_width(rows, each) + 2 for each in columns) - 2
        if needed <= width or len(columns) <= len(_TINY):
            break
        if column in columns:
            columns.remove(column)
    return columns


def _width(rows: Sequence[Row], column: str) -> int:
    """The cells that a column needs."""
    if column == SPARK:
        return SPARK_WIDTHS[0]
    return max([len(column), *(cell_len(row.cells[column]) for row in rows)])


def _use_whole_width(widths: list[int], columns: Sequence[str], width: int) -> None:
    """Give the sparkline what is left; take from STATE, then SERVICE, what the fewest columns have too
    much.
    """
    left = width - len(CURSOR) - sum(widths) - 2 * (len(widths) - 1)
    if left > 0 and SPARK in columns:
        widths[columns.index(SPARK)] = min(SPARK_WIDTHS[0] + left, SPARK_WIDTHS[1])
    for column, least in (("STATE", 6), ("SERVICE", 6)):
        if left < 0:
            position = columns.index(column)
            taken = min(-left, max(0, widths[position] - least))
            widths[position] -= taken
            left += taken


def _joined(values: Sequence[str], columns: Sequence[str], widths: Sequence[int]) -> str:
    """Values as one padded line."""
    return "  ".join(
        _fit(value, column, size) for value, column, size in zip(values, columns, widths, strict=True)
    )


def _fit(value: str, column: str, size: int) -> str:
    """One value in exactly `size` cells; of a sparkline the latest part."""
    if column == SPARK:
        return value[-size:].ljust(size) if value != SPARK else value.ljust(size)
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
