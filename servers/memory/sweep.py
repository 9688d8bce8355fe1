"""The housekeeping that nobody asks for: what has expired is deleted, what was deleted long ago is removed.

It decides how often and in which portions, so that stores need not wait for it. It does not know SQL.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from servers.errors import RequestError
from servers.memory.jobs import ExpireJob, Job, Outcome, PurgeJob

log = logging.getLogger(__name__)

PERIOD_S: Final = 3600.0
"""Seconds between two sweeps."""
PORTION_ROWS: Final = 512
"""Memories that one commit of a sweep changes at most."""


async def sweep(change: Callable[[Job], Awaitable[Outcome]], now_ms: Callable[[], int], undo_ms: int) -> int:
    """Sweep once; returns how many memories were removed for good.

    An expired memory counts as deleted since it expired. Raises what `change` raises.
    """
    while (await change(ExpireJob(PORTION_ROWS))).count == PORTION_ROWS:
        pass
    removed = 0
    while count := (await change(PurgeJob(now_ms() - undo_ms, PORTION_ROWS))).count:
        removed += count
    return removed


async def sweep_if_possible(
    change: Callable[[Job], Awaitable[Outcome]], now_ms: Callable[[], int], undo_ms: int
) -> None:
    """Sweep once; a store that refuses is left for the next time, which the log says."""
    try:
        removed = await sweep(change, now_ms, undo_ms)
    except RequestError as error:
        log.warning("the sweep of old memories failed and is repeated later: %s", error)
    else:
        if removed:
            log.info("%d memories that were deleted long ago were removed for good", removed)


async def keep_sweeping(
    change: Callable[[Job], Awaitable[Outcome]],
    now_ms: Callable[[], int],
    undo_ms: int,
    period_s: float = PERIOD_S,
) -> None:
    """Sweep every `period_s` seconds from then on, until cancelled."""
    while True:
        await asyncio.sleep(period_s)
        await sweep_if_possible(change, now_ms, undo_ms)
