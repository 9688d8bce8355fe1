"""`python -m servers.inference`: run the inference server, or check its options (`--check-options`).

It decides which sources the settings come from. The imports that take long are made only when the server
really runs, so that checking options stays quick.
"""

import os
import sys

from servers.embedding.models import find_model
from servers.errors import ModelMissing, StartupError
from servers.inference.settings import DEFAULT_PORTS, InferenceSettings
from servers.process_exit import leave
from servers.settings import OptionProblem, check_options, read_settings, wants_check


def main(argv: list[str] | None = None) -> int:
    """Run with the command line `argv` (default: the process's); return the exit code (launcher.md §6)."""
    arguments = sys.argv[1:] if argv is None else argv
    if wants_check(arguments):
        return check_options(InferenceSettings, find_problems)
    try:
        settings = read_settings(InferenceSettings, arguments, os.environ)
        return run(settings)
    except StartupError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def find_problems(settings: InferenceSettings) -> list[OptionProblem]:
    """Return what is wrong with valid settings on this machine: a model that is not here."""
    if settings.backend == "debug" or settings.download:
        return []
    try:
        find_model(settings.model)
    except ModelMissing as error:
        return [OptionProblem(("model",), "model_missing", f"{error.what} ({error.where})", error.mend)]
    return []


def run(settings: InferenceSettings) -> int:
    """Serve until told to stop; return the exit code."""
    from servers.inference.assembly import build_service
    from servers.serve import run as serve
    from servers.surroundings import read_child, read_peers

    service = build_service(settings, read_peers(os.environ), read_child(os.environ))
    return serve(service, settings, default_ports=DEFAULT_PORTS)


if __name__ == "__main__":
    leave(main())
