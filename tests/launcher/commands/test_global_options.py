"""launcher.commands.global_options: the options of every verb, before it and after it."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from launcher import cli
from launcher.commands.global_options import accept_after
from tests.launcher.commands.conftest import Run
from tests.launcher.control_double import ControlDouble


@pytest.mark.parametrize("verb", sorted(cli.VERBS))
def test_every_verb_takes_them_and_shows_none(verb: str) -> None:
    """Twice as well as once: a verb is looked up anew for each call, and is the same object."""
    context = click.Context(cli.group)
    command = cli.group.get_command(context, verb)
    assert command is not None
    again = accept_after(command)
    words = [word for parameter in again.params for word in parameter.opts]
    assert len(words) == len(set(words))
    assert {"-C", "--directory", "--file", "--color", "--ascii", "-q", "-v"} <= set(words)
    assert "--directory" not in again.get_help(click.Context(again))


@pytest.mark.parametrize("words", ["-f {} status --json", "status --json -f {}", "status --file {} --json"])
def test_the_file_on_either_side(control: ControlDouble, run: Run, project: Path, words: str) -> None:
    """From another folder; the last one that is given counts."""
    path = project / "config.yaml"
    done = run("-C", "/", *words.format(path).split())
    assert json.loads(done.out)["project"] == "lucid"


def test_the_folder_after_the_verb(
    control: ControlDouble, run: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after the verb of a verb; one that does not exist is a usage error."""
    monkeypatch.chdir("/")
    assert run("status", "-C", str(project), "--json").out
    assert run("config", "check", "-C", str(project)).code == 2  # the file of the double has no services
    assert "is empty; name a service" in run("config", "check", "-C", str(project)).err
    assert run("status", "-C", "/no/such/folder").code == 2


def test_a_verbs_own_option_wins(project: Path, run: Run) -> None:
    """`logs -f` follows, and does not take the next word as a file; the long form is free."""
    (project / "logs" / "a.log").write_text("2026-11-24T00:00:00.000000Z stdout | x\n")
    assert run("logs", "-f", "--prev").code == 2
    assert run("logs", "--file", "elsewhere.yaml").code == 2
    assert run("logs", "a", "--file", "config.yaml").out.endswith("| x\n")


def test_how_it_speaks(control: ControlDouble, run: Run) -> None:
    """Colour, quiet and verbose hold for what the verb says, and for how it fails."""
    assert "\x1b[" in run("status", "--color", "always").out
    assert run("stop", "memory", "-q").err == ""
    assert run("stop", "memory").err != ""
    assert '"service": "nope"' in run("status", "nope", "-v").err
    assert "\x1b[" in run("status", "nope", "--color=always").err
    assert "●" not in run("status", "--ascii").out
