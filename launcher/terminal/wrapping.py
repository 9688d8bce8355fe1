"""Long sentences in a narrow terminal: broken between words, and set under where they began.

Pure. Paths and addresses are never broken, since they are for copying.
"""

import textwrap

__all__ = ["hanging"]

# Narrower than this nothing would be gained by breaking.
_LEAST_ROOM = 20


def hanging(head: str, text: str, indent: int, width: int | None) -> str:
    """`head`, which takes `indent` cells, then `text`, on as many lines of `width` cells as it needs.

    None as width, as for a pipe, leaves everything on one line.
    """
    if width is None or width - indent < _LEAST_ROOM:
        return head + text
    lines = textwrap.wrap(text, width - indent, break_long_words=False, break_on_hyphens=False) or [""]
    return f"\n{' ' * indent}".join([head + lines[0], *lines[1:]])
