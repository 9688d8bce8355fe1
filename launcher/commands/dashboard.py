"""`lucid-launch dashboard`: the live dashboard on a running stack."""

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

    app = Dashboard(config_path)
    choice = app.run()
    if app.return_code:
        # The library reports a crash only here; without this a crash would end with exit code 0.
        return app.return_code
    if choice == STOP_ALL:
        try:
            take_down(config_path, output, None)
        except NotRunning:
            output.note("it has already ended")
    else:
        output.note("left running; come back with  lucid-launch dashboard , stop it with  lucid-launch down")
    return 0
