"""The way out of a server process."""

import subprocess
import sys


def test_leaving_keeps_the_output_and_the_code() -> None:
    """Everything that was printed arrives, the exit code is the given one, and no exit handler delays it."""
    program = (
        "import atexit, sys; from servers.process_exit import leave;"
        "atexit.register(print, 'torn down');"
        "sys.stdout.write('last word'); sys.stderr.write('last error'); leave(5)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (5, "last word", "last error")
