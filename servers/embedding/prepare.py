"""`python -m servers.embedding.prepare`: export a model, measure the engines, remember the fastest.

The preparing process: the one that pays for importing torch, so that servers need not. A server starts it at
the first start for a model, machine and set of library versions, with its request as one line on standard
input; whoever installs the stack can run it by hand beforehand (`--model NAME`). It reports progress and its
result as lines of JSON on standard output. It decides the order of the work and nothing that outlives it but
files in the cache.
"""

import argparse
import json
import os
import sys
import threading
from collections.abc import Sequence
from typing import Any, Final, TextIO

from servers.embedding.artefacts import exclusive
from servers.embedding.engine import OnPhase
from servers.embedding.models import find_model
from servers.embedding.selection import Wanted, prune, recall, remember
from servers.embedding.surroundings import LIBRARY_ENVIRONMENT
from servers.embedding.variants import Choice
from servers.errors import StartupError
from servers.settings import EmbeddingSettings

_ABANDONED: Final = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Prepare what standard input or `argv` asks for; return the exit code, 0 when it is remembered."""
    arguments = _parse(argv)
    for name, value in LIBRARY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    reporter = Reporter(sys.stdout)
    # Libraries print to standard output as they please; only the reporter's lines may appear there.
    sys.stdout = sys.stderr
    try:
        reporter.result(prepare(_read_request(arguments), reporter.phase).to_json())
    except StartupError as error:
        reporter.failure(error.what, error.where, error.mend)
        return error.exit_code
    return 0


def prepare(wanted: Wanted, on_phase: OnPhase) -> Choice:
    """Return the variant to serve `wanted` with, found out now unless another process just did.

    One process at a time prepares a model; the others wait without having imported anything heavy. Reports
    import, load-model, export and measure. Raises `BadSettings` when nothing that was asked for works here,
    `ModelMissing` for files that do not load, and `OSError` when the cache cannot be written.
    """
    with exclusive(wanted.folder, on_wait=lambda: on_phase("measure", None)):
        remembered = recall(wanted)
        if remembered is not None:
            return remembered
        on_phase("import", 0.0)
        from servers.embedding.preparation import find_choice

        choice = find_choice(wanted, on_phase)
        remember(wanted, choice)
        prune(wanted)
        return choice


class Reporter:
    """Writes one JSON object per line, for the server that waits or for the person who looks on."""

    def __init__(self, output: TextIO) -> None:
        """Write to `output`."""
        self._output = output

    def phase(self, phase: str, progress: float | None) -> None:
        """Report a phase and the share of the whole preparation that is done (0…1)."""
        self._write({"phase": phase, "progress": progress})

    def result(self, choice: dict[str, Any]) -> None:
        """Report what was chosen."""
        self._write({"choice": choice})

    def failure(self, what: str, where: str | None, mend: str | None) -> None:
        """Report why nothing was chosen."""
        self._write({"failure": {"what": what, "where": where, "mend": mend}})

    def _write(self, line: dict[str, Any]) -> None:
        print(json.dumps(line), file=self._output, flush=True)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m servers.embedding.prepare", description=__doc__)
    fields = EmbeddingSettings.model_fields
    for name in ("model", "backend", "accuracy", "device", "threads", "engine_cache"):
        parser.add_argument(f"--{name.replace('_', '-')}", help=fields[name].description)
    parser.add_argument("--request", action="store_true", help="read the request from standard input")
    return parser.parse_args(argv)


def _read_request(arguments: argparse.Namespace) -> Wanted:
    given = {name: value for name, value in vars(arguments).items() if value is not None}
    if given.pop("request"):
        line = sys.stdin.readline()
        threading.Thread(target=_leave_with_the_server, name="lifeline", daemon=True).start()
        return Wanted.from_json(line)
    settings = EmbeddingSettings.model_validate(given)
    return Wanted.read(settings, find_model(settings.model), os.environ)


def _leave_with_the_server() -> None:
    """End this process when the server's end of standard input closes, which its death does as well."""
    sys.stdin.read()
    os._exit(_ABANDONED)


if __name__ == "__main__":
    sys.exit(main())
