"""`logs -f` on a real stack: across restarts, from the first line to the last, into a pipe."""

import subprocess
import sys

from tests.terminal.light_stack import LightStack


def test_no_line_is_lost_across_three_restarts(lit: LightStack) -> None:
    """Every line once and in order, and a marker for each process between them."""
    argv = [sys.executable, "-m", "launcher", "logs", "-f", "echo"]
    following = subprocess.Popen(
        argv, cwd=lit.root, env=lit.environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert following.stdout is not None
    try:
        lines = [following.stdout.readline()]
        for generation in range(2, 5):
            lit.say(*(f"line {generation}.{number}" for number in range(500)))
            while f"line {generation}.499" not in lines[-1]:
                lines.append(following.stdout.readline())
            lit.run("restart", "echo", "--wait")
            while f"generation {generation} started" not in lines[-1]:
                lines.append(following.stdout.readline())
        lit.run("down")
        lines += following.stdout.readlines()
        assert following.wait(30) == 0
    finally:
        following.kill()
        following.wait()
        following.stdout.close()
    said = [line.rpartition("line ")[2].strip() for line in lines if "| line " in line]
    assert said == [f"{generation}.{number}" for generation in range(2, 5) for number in range(500)]
    markers = [line for line in lines if "── echo: generation" in line and "started" in line]
    assert len(markers) == 4
    assert all("\x1b" not in line for line in lines)
