"""Logging of a server process: plain lines on stderr, quiet about clients that come, go or misbehave.

Decides the format and which third-party lines are noise.  The launcher keeps and rotates the lines.
"""

from __future__ import annotations

import logging
import sys

from servers.readiness import Readiness

__all__ = ["PhaseLog", "configure_logging"]

logger = logging.getLogger("lucid")


class PhaseLog:
    """Writes one log line per phase of `name`, not per report of progress."""

    def __init__(self, name: str) -> None:
        self._name, self._seen = name, ""

    def __call__(self, readiness: Readiness) -> None:
        """Subscribe this to the service's Readiness."""
        phase = "draining" if readiness.is_draining else readiness.phase
        if phase != self._seen:
            self._seen = phase
            where = f" on {readiness.device}" if phase == "ready" and readiness.device else ""
            logger.info("the %s server: %s%s", self._name, phase, where)


class _Expected(logging.Filter):
    """Drops uvicorn's lines, some with tracebacks, about bad clients, any of which could flood the log."""

    _TEXTS = ("Invalid UTF-8 sequence", "Invalid HTTP request", "Unsupported upgrade request")

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith(self._TEXTS)


def configure_logging(*, with_time: bool) -> None:
    """Sets up the process's logging once; `with_time` for a terminal, where no launcher stamps the lines."""
    form = "%(levelname)s %(name)s: %(message)s"
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format=f"%(asctime)s {form}" if with_time else form, force=True
    )
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").addFilter(_Expected())
    # asyncio warns about every write to a client that has gone.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
