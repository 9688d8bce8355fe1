"""The Tab key in real shells: verbs, options, and the services of the stack or of the file."""

import shutil

import pytest

from tests.terminal.conftest import OpenTerminal
from tests.terminal.light_stack import LightStack
from tests.terminal.tmux import Terminal

# How each shell starts without anybody's settings, and takes the script.
SHELLS = {
    "bash": ("exec bash --norc --noprofile -i", 'eval "$(lucid-launch completion bash)"'),
    "zsh": (
        "exec zsh -f -i",
        'autoload -U compinit && compinit -u -D && eval "$(lucid-launch completion zsh)"',
    ),
    "fish": ("exec fish --no-config -i", "lucid-launch completion fish | source"),
}


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, light: LightStack, open_terminal: OpenTerminal) -> Terminal:
    """A terminal with a shell that has taken the completion script."""
    name: str = request.param
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    start, take = SHELLS[name]
    terminal: Terminal = open_terminal()
    terminal.run(start, shows="exec")
    terminal.run('echo shell-4""2', shows="shell-42")
    terminal.run(f'{take}; echo taken-4""2', shows="taken-42")
    terminal.press("C-l")
    terminal.shows(without="taken-42")
    return terminal


def test_a_verb_is_completed(shell: Terminal) -> None:
    """`dash` is enough for `dashboard`."""
    shell.type("lucid-launch dash")
    shell.press("Tab")
    shell.shows("lucid-launch dashboard")


def test_services_come_from_the_running_stack(lit: LightStack, shell: Terminal) -> None:
    """Also such as the file does not have any more."""
    lit.config.write_text("services: {other: {command: [sleep, '1']}}\n")
    shell.type("lucid-launch restart ec")
    shell.press("Tab")
    shell.shows("lucid-launch restart echo")


def test_services_come_from_the_file_when_nothing_runs(shell: Terminal) -> None:
    """`up w` is completed before the first start."""
    shell.type("lucid-launch up we")
    shell.press("Tab")
    shell.shows("lucid-launch up web")


def test_all_services_are_listed(lit: LightStack, shell: Terminal) -> None:
    """Two tabs list them."""
    shell.type("lucid-launch status ")
    shell.press("Tab", "Tab")
    shell.until(
        lambda text: any({"echo", "web"} <= set(line.split()) for line in text.split("\n")),
        "the services are not listed",
    )


def test_options_are_completed(shell: Terminal) -> None:
    """`--tim` is enough for `--timeout`."""
    shell.type("lucid-launch wait --tim")
    shell.press("Tab")
    shell.shows("lucid-launch wait --timeout")


def test_the_projects_own_script_is_completed_too(light: LightStack, shell: Terminal) -> None:
    """`./lucid` takes the same verbs and services."""
    wrapper = light.root / "lucid"
    wrapper.write_text('#!/bin/sh\nexec lucid-launch "$@"\n')
    wrapper.chmod(0o755)
    shell.type("./lucid up we")
    shell.press("Tab")
    shell.shows("./lucid up web")
