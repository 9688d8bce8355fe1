"""The probe that runs a program: exit 0 is well. The program gets its own session and ends with its time
limit.
"""

from __future__ import annotations

from launcher.children.parent import Parent
from launcher.children.programs import run_program
from launcher.probes import Answer, Failing, Well
from launcher.spawning import SpawnError, SpawnRequest

__all__ = ["ExecProbe"]


class ExecProbe:
    """Runs one program for each check and judges its exit code."""

    def __init__(self, parent: Parent, request: SpawnRequest) -> None:
        """Run `request` through the one parent, so that its end is reaped in the one place."""
        self._parent = parent
        self._request = request

    async def check(self) -> Answer:
        """Run the program to its end; when cancelled, it and whatever it started are killed first."""
        program = self._request.argv[0]
        try:
            done = await run_program(self._parent, self._request)
        except SpawnError as error:
            return Failing(f"cannot be probed: {error}")
        if done.status.code == 0:
            return Well()
        words = f": {done.stderr_tail[-1]}" if done.stderr_tail else ""
        return Failing(f"fails its probe {program} ({done.status.text}){words}")

    async def close(self) -> None:
        """Nothing is held between checks."""
