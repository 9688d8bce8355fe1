"""`python -m servers.memory`: run the memory server, or check its options (`--check-options`).

It decides which sources the settings come from. The imports that take long are made only when the server
really runs, so that checking options stays quick.
"""

import os
import sys

from servers.errors import StartupError
from servers.memory.settings import DEFAULT_PORTS, MemorySettings, find_problems, require_extras
from servers.process_exit import leave
from servers.settings import check_options, read_settings, wants_check


def main(argv: list[str] | None = None) -> int:
    """Run with the command line `argv` (default: the process's); return the exit code (launcher.md §6)."""
    arguments = sys.argv[1:] if argv is None else argv
    if wants_check(arguments):
        return check_options(MemorySettings, find_problems)
    try:
        settings = read_settings(MemorySettings, arguments, os.environ)
        return run(settings)
    except StartupError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def run(settings: MemorySettings) -> int:
    """Serve until told to stop; return the exit code. Raises BadSettings for a package that is missing."""
    require_extras(settings)
    from servers.memory.assembly import build_service
    from servers.serve import run as serve
    from servers.surroundings import read_peers

    return serve(build_service(settings, read_peers(os.environ)), settings, default_ports=DEFAULT_PORTS)


if __name__ == "__main__":
    leave(main())
