"""`lucid-launch completion`: the script that teaches a shell the verbs, options and service names."""

import click
from click.shell_completion import get_completion_class

from launcher.invocation import Invocation

PROGRAM = "lucid-launch"

# Click asks the program by its name. Asked is what stands on the line instead, so that ./lucid, which
# takes the same verbs, is completed too, and what is not on PATH. Bash does so by itself.
_ASKED = {
    "bash": (),
    "zsh": (
        ("#compdef lucid-launch\n", "#compdef lucid-launch lucid\n"),
        ("    (( ! $+commands[lucid-launch] )) && return 1\n", ""),
        ("_complete lucid-launch)", "_complete ${words[1]})"),
    ),
    "fish": (("(commandline -t) lucid-launch)", "(commandline -t) (commandline -opc)[1])"),),
}
_REGISTERED = {
    "bash": "complete -o nosort -F _lucid_launch_completion lucid\n",
    "zsh": "[[ $zsh_eval_context[-1] == loadautofunc ]] || compdef _lucid_launch_completion lucid\n",
    "fish": 'complete --no-files --command lucid --arguments "(_lucid_launch_completion)";\n',
}


@click.command(short_help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> int:
    """Print the completion script of a shell, for lucid-launch and for ./lucid.

    For bash:  eval "$(lucid-launch completion bash)" ; for fish:  lucid-launch completion fish | source
    """
    root = ctx.find_root()
    invocation: Invocation = root.obj
    invocation.output.data(script(root.command, shell).rstrip("\n"))
    return 0


def script(group: click.Command, shell: str) -> str:
    """Click's script for bash, zsh or fish, which asks the command that is being typed."""
    completion = get_completion_class(shell)
    if completion is None:
        raise click.UsageError(f"no completion for {shell}")
    text = completion(group, {}, PROGRAM, "_LUCID_LAUNCH_COMPLETE").source()
    for before, after in _ASKED[shell]:
        if before not in text:
            raise RuntimeError(f"click's script for {shell} has changed: {before!r} is not in it")
        text = text.replace(before, after)
    return f"{text.rstrip()}\n{_REGISTERED[shell]}"
