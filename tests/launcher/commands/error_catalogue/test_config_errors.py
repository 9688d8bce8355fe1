"""Errors of the file: whole texts, but for what differs from run to run."""

import pytest

from tests.integration.stack import Stack
from tests.launcher.commands.error_catalogue.catalogue import SLEEPER, provokes, said, services


@provokes("E_CONFIG_MISSING")
def test_no_config_file(stack: Stack) -> None:
    """Where it was looked for, and the two ways on."""
    stack.config.unlink()
    hint = "  hint: name one with  -f PATH , or write one for this machine with  lucid-launch init"
    for verb in (["up"], ["status"], ["logs"], ["plan"], ["config", "check"]):
        assert said(stack, *verb, code=2) == [
            "error[E_CONFIG_MISSING]: there is no config.yaml in <folder>, nor in a folder above it",
            hint,
        ]
    assert said(stack, "-f", "other.yaml", "up", code=2) == [
        "error[E_CONFIG_MISSING]: there is no configuration file; looked at <folder>/other.yaml",
        hint,
    ]


@provokes("E_CONFIG_EXISTS")
def test_init_overwrites_nothing(stack: Stack) -> None:
    """The file stays, byte by byte."""
    assert said(stack, "init", code=5) == [
        "error[E_CONFIG_EXISTS]: <folder>/config.yaml is there already, and was left as it is",
        "  hint: look at what would be written with  --print , replace the file with  --force",
    ]
    assert stack.config.read_text() == SLEEPER


@provokes("E_CONFIG")
def test_several_mistakes_at_once(stack: Stack) -> None:
    """Place, key, reason, guess, source line and caret for each, then how many."""
    services(stack, "job:", "  comand: [sleep, '1']", "  replicas: many", "  gpu: none", "  gpu: auto")
    assert said(stack, "up", "-d", code=2) == [
        "config.yaml:3:5: services.job.comand: unknown key; did you mean 'command'?",
        "   3 |     comand: [sleep, '1']",
        "     |     ^^^^^^",
        "config.yaml:4:15: services.job.replicas: must be a whole number, not 'many'",
        "   4 |     replicas: many",
        "     |               ^^^^",
        "config.yaml:6:5: services.job.gpu: the key is here twice; the first is on line 5",
        "   6 |     gpu: auto",
        "     |     ^^^",
        "error[E_CONFIG]: 3 errors; nothing was started or changed.",
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("services:\n\tjob: {}\n", "config.yaml:2:1: a tab; YAML is indented with spaces only"),
        ("services: {job: {command: [a]}\n", "not valid YAML: a ',' or '}' is missing in the mapping"),
        ("services: {job: {command: [a], port: 99999}}\n", "services.job.port: "),
        ("services: {a: {command: [a], depends_on: {a: ready}}}\n", "a service cannot depend on itself"),
        ("", "is empty"),
    ],
)
def test_other_bad_files(stack: Stack, text: str, sentence: str) -> None:
    """Tabs, an open bracket, a value out of range, a circle, nothing at all: one sentence each."""
    stack.config.write_text(text)
    lines = said(stack, "config", "check", code=2)
    assert sentence in lines[0]
    assert lines[-1] == "error[E_CONFIG]: 1 error; nothing was started or changed."
