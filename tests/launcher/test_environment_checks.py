"""What a service needs of this machine: right options, a program, a folder, a model; really looked for."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.config import Config
from launcher.errors import (
    ActionFailed,
    CommandNotFound,
    ConfigInvalid,
    EnvironmentUnmet,
    LauncherError,
    ModelNotFound,
)
from launcher.planning.preflight import check_environment
from launcher.planning.program_checks import find_missing_program
from tests.launcher.config_files import load


def lacking(config: Config) -> LauncherError:
    """The error that the check of all services raises."""
    with pytest.raises(LauncherError) as caught:
        check_environment(config, config.services.values(), os.environ)
    return caught.value


def test_options_are_checked_by_the_server_at_their_place(tmp_path: Path) -> None:
    """Line and column of each, with what the server says; together with wrong folders and files."""
    made = load(
        tmp_path,
        "services:\n  m:\n    server: memory\n    cwd: nowhere\n    options:\n      modle: x\n"
        "  c: {command: [x], env_file: missing.env, user: nobody-at-all}\n",
    )
    with pytest.raises(ConfigInvalid) as caught:
        check_environment(made, made.services.values(), os.environ)
    found = [str(problem) for problem in caught.value.problems]
    assert found[0].startswith("config.yaml:4:10: services.m.cwd: there is no folder")
    assert found[1].startswith("config.yaml:6:7: services.m.options.modle: unknown option")
    assert "missing.env cannot be read" in found[2]
    assert "there is no user 'nobody-at-all'" in found[3]


def test_processors_that_are_not_here(tmp_path: Path) -> None:
    """None of the list: the place, and those there are. One of them is enough, as on a smaller machine."""
    made = load(
        tmp_path, "services: {a: {command: [sh], cpus: [4000, 4001]}, b: {command: [sh], cpus: [0, 4000]}}\n"
    )
    with pytest.raises(ConfigInvalid) as caught:
        check_environment(made, made.services.values(), os.environ)
    (problem,) = caught.value.problems
    assert str(problem).startswith("config.yaml:1:37: services.a.cpus: none of these processors is here")
    assert "this machine has 0" in str(problem)


def test_a_server_that_cannot_check_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the last line it wrote, not with a traceback."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    made = load(tmp_path, "services: {m: {server: memory}}\n")
    with pytest.raises(ActionFailed, match="could not check its options: exit code 1"):
        check_environment(made, made.services.values(), os.environ)


def test_everything_this_machine_lacks_at_once(tmp_path: Path) -> None:
    """A model and two programs, exit 6, each with its line and mend."""
    made = load(
        tmp_path,
        "services:\n  m: {server: memory, options: {model: no/such-model-anywhere}}\n"
        "  a: {command: [pythn3]}\n  b: {command: [./run.sh]}\n",
    )
    with pytest.raises(EnvironmentUnmet) as caught:
        check_environment(made, made.services.values(), os.environ)
    assert [type(error) for error in caught.value.errors] == [ModelNotFound, CommandNotFound, CommandNotFound]
    assert caught.value.exit_code == 6
    text = caught.value.render()
    assert "config.yaml:2:" in text
    assert "did you mean 'python" in text
    assert "config.yaml:4:16" in text


@pytest.mark.parametrize(
    ("make", "words"),
    [(None, "there is no program"), (Path.mkdir, "is a folder"), (Path.touch, "is not executable")],
)
def test_a_program_that_cannot_run(tmp_path: Path, make: Callable[[Path], None] | None, words: str) -> None:
    """Alone it is its own error."""
    if make is not None:
        make(tmp_path / "run.sh")
    error = lacking(load(tmp_path, "services: {a: {command: [./run.sh]}}\n"))
    assert isinstance(error, CommandNotFound)
    assert words in str(error)


def test_a_program_is_looked_up_on_the_services_own_path(tmp_path: Path) -> None:
    """`env.PATH` counts."""
    program = tmp_path / "bin" / "mine"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    config = load(tmp_path, f"services: {{a: {{command: [mine], env: {{PATH: {program.parent}}}}}}}\n")
    assert find_missing_program(config, config.services["a"], os.environ) is None
    assert find_missing_program(config, config.services["a"].model_copy(update={"env": {}}), os.environ)
