"""Whether another supervisor could take over: asked before the present one leaves.

Decides that an installation which cannot be loaded changes nothing. Does not know what a takeover is.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from launcher.children.parent import Parent
from launcher.children.programs import run_program
from launcher.errors import ActionFailed
from launcher.spawning import SpawnError, SpawnRequest

__all__ = ["check_successor"]

_LIMIT_S = 30.0
_TRIAL = "from launcher import __version__, supervisor; print(__version__)"


async def check_successor(parent: Parent) -> str:
    """Return the version of the launcher that a new process loads; raises ActionFailed when it does not."""
    trial = SpawnRequest((sys.executable, "-c", _TRIAL), os.environ, Path.cwd())
    try:
        async with asyncio.timeout(_LIMIT_S):
            done = await run_program(parent, trial)
    except (SpawnError, TimeoutError) as error:
        raise _failure(str(error) or f"it did not load within {_LIMIT_S:g} s") from error
    if done.status.code != 0 or not done.lines:
        raise _failure(done.stderr_tail[-1] if done.stderr_tail else done.status.text)
    return done.lines[-1]


def _failure(why: str) -> ActionFailed:
    return ActionFailed(
        f"another supervisor could not take over: {why}",
        hint="nothing was changed; mend the installation and try again",
    )
