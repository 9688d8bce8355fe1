"""`lucid-launch dashboard`: the live dashboard on a running stack."""

import os
import sys
from pathlib import Path

import click

from launcher.commands.down import take_down
from launcher.control_client import fetch_status
from launcher.errors import NotRunning
from launcher.invocation import Invocation
from launcher.terminal.output import Output


@click.command(short_help="Open the live dashboard on a running stack.")
@click.pass_obj
def command(invocation: Invocation) -> int:
    """Open the live dashboard. `q` leaves it and lets the stack run; `?` shows the keys."""
    config_path = invocation.config_path()
    fetch_status(config_path)
    if not invocation.output.is_full_screen():
        raise click.UsageError(
            "the dashboard needs a terminal on stdin, stdout and stderr; try  lucid-launch status --watch"
        )
    return show_dashboard(config_path, invocation.output)


def show_dashboard(config_path: Path, output: Output) -> int:
    """Run the dashboard until the user leaves it, and do what was chosen on leaving."""
    from launcher.dashboard.app import STOP_ALL, Dashboard

    _tell_library_about_color(output)
    app = Dashboard(config_path, ascii_only=output.is_ascii(sys.stdout))
    choice = app.run()
    if app.return_code:
        # The library reports a crash only here; without this a crash would end with exit code 0.
        if choice is None:
            output.warn(
                "the dashboard ended by a mistake of its own (above); the services run on. See them with"
                "  lucid-launch status --watch , or open it again with  lucid-launch dashboard"
            )
        return app.return_code
    if choice == STOP_ALL:
        stop_all(config_path, output)
    else:
        output.note("left running; come back with  lucid-launch dashboard , stop it with  lucid-launch down")
    return 0


def stop_all(config_path: Path, output: Output) -> None:
    """Stop everything; Ctrl-C meanwhile means at once."""
    try:
        take_down(config_path, output, None)
    except NotRunning:
        output.note("it has already ended")
    except KeyboardInterrupt:
        output.note("stopping everything at once")
        take_down(config_path, output, 0)


def _tell_library_about_color(output: Output) -> None:
    """The screen library knows no flag, only NO_COLOR, and that from the process's environment alone."""
    if output.wants_color(sys.stdout):
        os.environ.pop("NO_COLOR", None)
    else:
        os.environ["NO_COLOR"] = "1"
