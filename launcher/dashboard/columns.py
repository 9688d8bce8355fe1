"""Which columns the dashboard's table has at a width, and its rows as styled text.

Pure: rows and numbers in, text out. Figures are never dropped by cutting: a narrower terminal has fewer
columns.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from launcher.terminal import cells
from launcher.terminal.rows import Row

SPARK = "60 s"
# Cells of the sparkline of request rates: at least, at most.
SPARK_WIDTHS = (8, 24)
SORTABLE = frozenset(
    (
        "SERVICE",
        "STATE",
        "UPTIME",
        "RST",
        "CPU%",
        "RSS",
        "VRAM",
        "REQ/S",
        "P50",
        "P99",
        "QUEUE",
        "PID",
        "HEALTH",
    )
)
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
    "PID",
    "HEALTH",
    SPARK,
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
SELECTED_STYLE = "on #2b3648"


Samples = Callable[[str], Sequence[float | None]]
"""The request rates of a child over the last minute."""


@dataclass(frozen=True)
class TableLook:
    """What the viewer chose: `sort` is a column, None for the order of the file."""

    sort: str | None = None
    ascii_only: bool = False
    has_color: bool = True

    @property
    def mark_style(self) -> str:
        """How the selected row stands out, besides its mark."""
        return SELECTED_STYLE if self.has_color else "reverse"

    @property
    def arrow(self) -> str:
        """The mark of the column that the rows are sorted by."""
        return "v" if self.ascii_only else "▾"


def table_lines(
    rows: Sequence[Row], width: int, selected: int, samples: Samples, look: TableLook = TableLook()
) -> list[Text]:
    """A header and a line per row that fit into `width` cells; the selected row is marked and reversed."""
    columns = columns_for(rows, width)
    widths = [_width(rows, column) for column in columns]
    if look.sort in columns:
        widths[columns.index(look.sort)] += 0 if look.sort in LEFT_ALIGNED else 1
    _use_whole_width(widths, columns, width)
    header = Text(" " * len(CURSOR), style="bold", no_wrap=True, overflow="crop")
    header.append(
        _joined([f"{each}{look.arrow}" if each == look.sort else each for each in columns], columns, widths)
    )
    lines = [header]
    for position, row in enumerate(rows):
        spark = cells.sparkline(samples(row.child), SPARK_WIDTHS[1], ascii_only=look.ascii_only)
        lines.append(
            _line(
                row,
                {**row.cells, SPARK: spark},
                columns,
                widths,
                look.mark_style if position == selected else None,
            )
        )
    return lines


def sortable_columns(rows: Sequence[Row], width: int) -> list[str | None]:
    """What `<` and `>` go through at this width: the order of the file, then every column with an order."""
    return [None, *(column for column in columns_for(rows, width) if column in SORTABLE)]


def in_order(rows: Sequence[Row], column: str | None) -> list[Row]:
    """The rows as sorted by a column: names from a to z, states the worst first, figures the largest first
    and the unknown last; equal ones stay as they are.
    """
    if column is None:
        return list(rows)
    if column == "SERVICE":
        return sorted(rows, key=lambda row: row.child)
    if column == "STATE":
        return sorted(rows, key=lambda row: cells.severity(row.state))

    def urgency(row: Row) -> float:
        value = row.figures.get(column)
        return inf if value is None else -value

    return sorted(rows, key=urgency)


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
        return value[-size:].ljust(size) if value != SPARK else value.ljust(size)[:size]
    if cell_len(value) > size:
        return set_cell_size(value, max(size - 1, 0)) + "…"
    return set_cell_size(value, size) if column in LEFT_ALIGNED else " " * (size - cell_len(value)) + value


def _line(
    row: Row, values: Mapping[str, str], columns: Sequence[str], widths: Sequence[int], mark_style: str | None
) -> Text:
    """One row as text: mark, state in its colour, old and unknown figures dimmed."""
    line = Text(CURSOR if mark_style is not None else " " * len(CURSOR), no_wrap=True, overflow="crop")
    for position, (column, size) in enumerate(zip(columns, widths, strict=True)):
        line.append("  " if position else "")
        line.append(_fit(values[column], column, size), style=_style(row, column, values[column]))
    if mark_style is not None:
        line.stylize_before(mark_style)
        line.stylize("bold", 0, 1)
    return line


def _style(row: Row, column: str, value: str) -> str:
    """The style of one cell."""
    if column == "STATE":
        return cells.COLORS.get(row.state, "")
    if column == "SERVICE":
        return "bold"
    if column == SPARK:
        return "cyan"
    if column == "PORT" and value.endswith("!"):
        return "yellow"
    return "dim" if row.is_stale or value == cells.UNKNOWN else ""
