"""Run a function in a Python of its own: for what concerns every child, descriptor or signal of a process."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
PYTHON = sys.executable


def alone(function: Callable[..., Any], *arguments: object) -> Any:
    """Call a function that needs nothing but its own imports, and return its result; all of it is JSON.

    No site packages: what runs in the guardian has to do without.
    """
    source = textwrap.dedent(inspect.getsource(function))
    call = f"{function.__name__}(*json.loads({json.dumps(arguments)!r}))"
    script = f"from __future__ import annotations\nimport json\n{source}\nprint(json.dumps({call}))"
    done = subprocess.run(
        [PYTHON, "-S", "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)
