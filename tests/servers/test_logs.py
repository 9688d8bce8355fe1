"""What is logged and what is noise."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import logging
from servers.logs import configure_logging
configure_logging(with_time={with_time})
logging.getLogger("lucid").info("hello")
logging.getLogger("uvicorn.error").info("routine")
logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
logging.getLogger("uvicorn.error").error("Exception in ASGI application")
logging.getLogger("asyncio").warning("socket.send() raised exception.")
"""


@pytest.mark.parametrize("with_time", [True, False])
def test_lines_are_plain_and_clients_cannot_flood_them(with_time: bool) -> None:
    """Our lines and real faults are kept; what any bad client can cause is not."""
    ran = subprocess.run(
        [sys.executable, "-c", CODE.format(with_time=with_time)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = ran.stderr.splitlines()
    assert [line.rpartition(": ")[2] for line in lines] == ["hello", "Exception in ASGI application"]
    assert (lines[0] == "INFO lucid: hello") is not with_time
    assert ran.stdout == ""
