"""`python -m tests.servers.memory.server_nursery`: memory servers by fork; a start costs milliseconds.

Imports everything that a server imports, once, starts no thread, and forks a server per line of standard
input: `{"path": …, "notify": …, "listen": fd}`. Answers with two lines: the server's pid, and when it has
ended its exit status. The server runs the very code of `python -m servers.memory`, with the debug engine.
"""

import json
import os
import sys
from pathlib import Path

import torch

import servers.memory.assembly
import servers.serve
from servers.memory.__main__ import run
from servers.memory.settings import MemorySettings

FIRST_INHERITED_FD = 3  # sd_listen_fds(3)


def serve(path: str, notify: str, listen: int) -> int:
    """Be a memory server until the end; returns its exit code."""
    os.dup2(listen, FIRST_INHERITED_FD, inheritable=True)
    os.environ.update({"LISTEN_FDS": "1", "NOTIFY_SOCKET": notify})
    os.environ.pop("LISTEN_PID", None)
    torch.set_num_threads(1)
    return run(MemorySettings(backend="debug", path=Path(path)))


def main() -> None:
    """Fork one server after the other until standard input ends."""
    for line in iter(sys.stdin.readline, ""):
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            sys.stderr = open(os.devnull, "w")  # noqa: SIM115 # lives as long as the process
            os._exit(serve(**order))
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    print(servers.memory.assembly.NAME, servers.serve.__name__, flush=True)
    main()
