"""Large replies are written in slices, so that everybody else is answered in between.

Decides how many vectors are written at once. Writing 2,048 vectors of floats takes tens of milliseconds of
the event loop, in which no small request would be read, refused or answered. Knows no encoding: it is given
the writer of a slice.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import orjson
from numpy.typing import NDArray

ROWS_AT_ONCE: Final = 64
"""Of 384 floats, about a millisecond."""


async def written_rows(rows: NDArray[Any], write: Callable[[NDArray[Any]], Any]) -> orjson.Fragment:
    """Return a JSON array with an element for each of `rows`, as `write` gives them for a slice of rows."""
    pieces: list[bytes] = []
    for start in range(0, len(rows), ROWS_AT_ONCE):
        if start:
            await asyncio.sleep(0)
        slice_ = orjson.dumps(write(rows[start : start + ROWS_AT_ONCE]), option=orjson.OPT_SERIALIZE_NUMPY)
        pieces.append(slice_[1:-1])
    return orjson.Fragment(b"[" + b",".join(pieces) + b"]")
