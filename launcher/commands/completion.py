"""`lucid-launch completion`: the script that teaches a shell the verbs, options and service names."""

import click
from click.shell_completion import get_completion_class

from launcher.invocation import Invocation


@click.command(short_help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> int:
    """Print the completion script of a shell.

    For bash:  eval "$(lucid-launch completion bash)"
    """
    root = ctx.find_root()
    program = root.info_name or "lucid-launch"
    completion = get_completion_class(shell)
    if completion is None:
        raise click.UsageError(f"no completion for {shell}", ctx)
    variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
    invocation: Invocation = root.obj
    invocation.output.data(completion(root.command, {}, program, variable).source())
    return 0
