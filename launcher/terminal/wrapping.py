"""Long sentences in a narrow terminal: broken between words, and set under where they began.

Pure. Paths and addresses are never broken, since they are for copying.
"""

import re
import textwrap

__all__ = ["fitted_error_line", "hanging"]

# Narrower than this nothing would be gained by breaking.
_LEAST_ROOM = 20
# How a sentence, a mistake in a file, and a mend begin in a rendered error, and how deep they go on.
_SENTENCES = ((re.compile(r"error\["), 2), (re.compile(r"\S+:\d+:\d+: "), 2), (re.compile(r"  hint: "), 8))
_QUOTED = re.compile(r" +\d+ \| ")


def hanging(head: str, text: str, indent: int, width: int | None) -> str:
    """`head`, then `text`, on as many lines of `width` cells as it needs, all but the first `indent` deep.

    A head takes `indent` cells; without one the text begins at the left. None as width, as for a pipe, leaves
    everything on one line.
    """
    if width is None or width - indent < _LEAST_ROOM:
        return head + text
    blank = " " * indent
    lines = textwrap.wrap(
        text,
        width,
        initial_indent=blank if head else "",
        subsequent_indent=blank,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return head + "\n".join(lines)[indent if head else 0 :]


def fitted_error_line(line: str, width: int) -> str:
    """One line of a rendered error: sentences go on below, a quoted line of a file ends with an ellipsis."""
    if len(line) <= width:
        return line
    if _QUOTED.match(line):
        return line[: width - 1] + "…"
    return next((hanging("", line, indent, width) for start, indent in _SENTENCES if start.match(line)), line)
