"""The sweeper that runs when guardian and supervisor have died together: `python -m launcher.sentinel`.

Until then it is a shell that waits for the end of a pipe which only those two hold (`guardian` starts it). It
takes the ownership of the stack, ends what is left of it, and leaves a note for the next `up`. When somebody
else owns the stack already, that one cleans up, and nothing is done here.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from launcher.errors import AlreadyOwned
from launcher.running.ownership import clean_up, write_notes
from launcher.runtime_dir import OwnerLock, runtime_paths

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Clean up once; returns 0, or 1 when the stack has an owner."""
    parser = argparse.ArgumentParser(prog="python -m launcher.sentinel")
    parser.add_argument("--config", type=Path, required=True)
    arguments, _ = parser.parse_known_args(argv)
    paths = runtime_paths(arguments.config)
    try:
        lock = OwnerLock(paths, arguments.config)
    except AlreadyOwned:
        return 1
    write_notes(paths, clean_up(paths, lock))
    lock.release()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
