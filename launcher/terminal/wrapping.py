"""Long sentences in a narrow terminal: broken between words, and set under where they began.

Pure. Paths and addresses are never broken, since they are for copying.
"""

import textwrap

__all__ = ["hanging"]

# Narrower than this nothing would be gained by breaking.
_LEAST_ROOM = 20


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
