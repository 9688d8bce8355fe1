"""The command line: global options, a group that imports a verb's module only when it is called, exit codes.

Knows the names of the verbs and one line about each; what a verb does stands in
`launcher/commands/<verb>.py`.
"""

import importlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from launcher import __version__
from launcher.commands.global_options import accept_after, global_options
from launcher.errors import LauncherError
from launcher.invocation import Invocation
from launcher.terminal.output import Output, paint_error
from launcher.terminal.usage_text import usage_sentence

PROGRAM = "lucid-launch"
EXIT_INTERRUPTED = 130
EXIT_PIPE_CLOSED = 141  # what a shell reports for a process that SIGPIPE ended, as in `logs | head`

VERBS: dict[str, str] = {
    "up": "Start the stack, or bring a running one in line with the file.",
    "down": "Stop every service, then the supervisor.",
    "status": "Show every service: state, address, load, and why one is not ready.",
    "logs": "Show the output of all services, merged by time.",
    "start": "Start services that are stopped.",
    "stop": "Stop services and keep them stopped.",
    "restart": "Restart services with the settings that the file holds now.",
    "scale": "Change how many replicas of a service run.",
    "reload": "Read the file again, or replace the supervisor and leave the services alone.",
    "dashboard": "Open the live dashboard on a running stack.",
    "wait": "Wait until services are ready, or stopped.",
    "events": "Show state changes, one a line.",
    "init": "Write a config.yaml for this machine.",
    "config": "Check, show, or describe config.yaml.",
    "plan": "Show what `up` would do, and why.",
    "doctor": "Check this machine: driver, GPUs, ports, model, limits.",
    "call": "Send one request to a server and show the reply.",
    "selftest": "Check a running stack end to end, a tick per check.",
    "connect": "Connect an MCP client to the memory server.",
    "mcp": "Bridge MCP from stdin and stdout to the memory server.",
    "completion": "Print the completion script of a shell.",
}
ALIASES: dict[str, str] = {"ps": "status", "attach": "dashboard"}


class ReaderLeft(Exception):
    """Whoever read our output has had enough; click would make exit code 1 of it."""


class VerbGroup(click.Group):
    """A group whose commands are modules, imported on first use."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; raises ReaderLeft when stdout or stderr is a pipe that nobody reads any more."""
        try:
            outcome = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            raise ReaderLeft from None
        return outcome

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs, in the order in which a newcomer needs them."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The `command` of `launcher.commands.<verb>`; None for a word that is no verb."""
        verb = ALIASES.get(cmd_name, cmd_name)
        if verb not in VERBS:
            return None
        command: click.Command = importlib.import_module(f"launcher.commands.{verb}").command
        return accept_after(command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with the verbs and aliases as suggestions for a misspelt one."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as unknown:
            names = [*VERBS, *ALIASES]
            raise click.exceptions.NoSuchCommand(unknown.command_name, possibilities=names, ctx=ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of verbs for `--help`, without importing any of them."""
        aliases = {verb: alias for alias, verb in ALIASES.items()}
        rows = [
            (f"{verb}, {aliases[verb]}" if verb in aliases else verb, text) for verb, text in VERBS.items()
        ]
        with formatter.section("Verbs"):
            formatter.write_dl(rows)


@click.group(
    cls=VerbGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@global_options
@click.version_option(__version__, prog_name=PROGRAM)
@click.pass_context
def group(
    ctx: click.Context,
    file: Path | None,
    directory: Path | None,
    color: str,
    ascii_only: bool,
    quiet: bool,
    verbose: int,
) -> None:
    """Run a local AI stack: start it, watch it, keep it alive.

    A first try: `lucid-launch up`, then `lucid-launch selftest`.
    """
    output = Output(color, quiet, verbose, os.environ, ascii_only)
    ctx.obj = Invocation(file=file, directory=directory or _here(), output=output, environ=os.environ)


def _here() -> Path:
    """The folder of the call; where it was, if it is gone: the file may stand above it."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path("/", os.environ.get("PWD", ""))


def _open_standard_streams() -> None:
    """Put /dev/null where the caller has closed stdin, stdout or stderr, or the next file would take its
    place.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns its exit code (launcher.md section 3) and never raises a
    LauncherError.
    """
    _open_standard_streams()
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        outcome = group.main(args=args, prog_name=PROGRAM, standalone_mode=False)
    except LauncherError as error:
        output = output_from(args)
        if "--json" in args:
            output.data(json.dumps(error_document(error), ensure_ascii=False, indent=2))
        output.error(error)
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as usage:
        usage.show()
        return usage.exit_code
    except click.ClickException as usage:
        show_usage_error(usage, output_from(args))
        return usage.exit_code
    except ReaderLeft:
        # What is still buffered has nowhere to go; the interpreter would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE_CLOSED
    except (click.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    return outcome if isinstance(outcome, int) else 0


def error_document(error: LauncherError) -> dict[str, object]:
    """What a program reads on stdout when it asked for JSON and the verb failed: schema `lucid.error/1`."""
    facts = {key: value for key, value in error.to_document().items() if key != "text"}
    return {"schema": "lucid.error/1", "ok": False, **facts}


def output_from(args: Sequence[str]) -> Output:
    """The voice for an error that ended the call before, or outside of, a verb."""
    color, verbose = "auto", 0
    for position, word in enumerate(args):
        if word == "--color" and position + 1 < len(args):
            color = args[position + 1]
        elif word.startswith("--color="):
            color = word.removeprefix("--color=")
        verbose += word in ("-v", "-vv", "--verbose")
    return Output(color=color, quiet=False, verbose=verbose, environ=os.environ)


def show_usage_error(usage: click.ClickException, output: Output) -> None:
    """Write a wrong command line to stderr in the shape of every other error."""
    ctx = getattr(usage, "ctx", None)
    command = PROGRAM if ctx is None else ctx.command_path
    text = f"error[E_USAGE]: {usage_sentence(usage)}\n  hint: see  {command} --help"
    click.echo(paint_error(text), err=True, color=output.wants_color(sys.stderr))


if __name__ == "__main__":
    sys.exit(main())
