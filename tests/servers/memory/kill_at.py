"""`python -m tests.servers.memory.kill_at FOLDER`: store, and die at the n-th write or sync, for every n.

One process imports what is needed and forks for every n, so that trying all of them takes a second. Prints
one line per n: n, the exit status, the ids that were acknowledged before the end. Stops after the first n
that is never reached.
"""

import os
import signal
import sys
from itertools import count
from pathlib import Path

from servers.memory.store.base import ModelMark
from servers.memory.store.sqlite import SqliteStore
from tests.servers.memory.doubles import DIMENSIONS, make_memory
from tests.servers.memory.faulty_disk import FaultyDisk, faulty

BATCHES = (("a", "b", "c"), ("d", "e"))


def store_until_killed(folder: Path, position: int, acknowledge: int) -> None:
    """Store two batches and close; the process ends at that operation."""
    with faulty(FaultyDisk()) as disk:
        store = SqliteStore(folder, vfs=disk.name)
        store.bind_model(ModelMark("a-model", DIMENSIONS))
        store.apply([lambda t: t.insert(make_memory("before"))])
        os.write(acknowledge, b"before ")
        disk.arm(position, lambda kind: os.kill(os.getpid(), signal.SIGKILL))
        for batch in BATCHES:
            store.apply([lambda t, names=batch: [t.insert(make_memory(name)) for name in names]])
            os.write(acknowledge, (" ".join(batch) + " ").encode())
        store.close()


def main(folder: Path) -> None:
    """Fork once per position until one is beyond the last operation."""
    for position in count(1):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            store_until_killed(folder / str(position), position, writer)
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as acknowledgements:
            words = acknowledgements.read().decode().split()
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        print(position, code, *words, flush=True)
        if code != -signal.SIGKILL:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]))
