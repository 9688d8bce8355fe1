"""The probe that asks for real work: it finds a child whose checks are green and whose work is dead.

Decides when the canary is due and what its answer means: too late is as bad as none, and one that failed
stays due, so that a child which only answers `stats` does not look well in between. Does not know thresholds.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from launcher.probes import Answer, Failing, Loading, Probe, Well

if TYPE_CHECKING:
    from launcher.configuration.models import Canary

__all__ = ["CanaryProbe"]


class CanaryProbe:
    """Another probe, and after each of its good answers the canary when that is due."""

    def __init__(self, probe: Probe, canary: Probe, settings: Canary, timeout_s: float) -> None:
        """Give `probe` at most `timeout_s` and `canary` at most its own latency budget."""
        self._probe = probe
        self._canary = canary
        self._settings = settings
        self._timeout_s = timeout_s
        self._due_at = 0.0

    async def check(self) -> Answer:
        """Ask both, or only the probe while the canary is not due."""
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._probe.check()
        except TimeoutError:
            return Failing(f"did not answer within {self._timeout_s:g} s")
        now = asyncio.get_running_loop().time()
        if not isinstance(answer, Well) or now < self._due_at:
            return answer
        sung = await self._ask_canary()
        if isinstance(sung, Well):
            self._due_at = now + self._settings.period_s
            return answer
        return sung

    async def close(self) -> None:
        """Give back what both hold."""
        await self._canary.close()
        await self._probe.close()

    async def _ask_canary(self) -> Answer:
        budget_s = self._settings.timeout_s
        try:
            async with asyncio.timeout(budget_s):
                answer = await self._canary.check()
        except TimeoutError:
            text = f"answers its checks, but not the canary '{self._settings.type}' within {budget_s:g} s"
            return Failing(text)
        if isinstance(answer, Loading | Well):
            return answer
        return Failing(f"answers its checks, but the canary fails: it {answer.text}")
