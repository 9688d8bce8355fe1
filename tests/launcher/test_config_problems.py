"""What is wrong with a config.yaml: all of it at once, each at its place, with the mend."""

import json
from pathlib import Path

import pytest

from launcher.config import load_config, locate_problem
from launcher.errors import ConfigInvalid, ConfigMissing
from tests.launcher.config_files import load, problems, service


@pytest.mark.parametrize("written", ["0", "65536", "9-5", "x", "true", "1.5", "080", "5000-", "[1]", "-1"])
def test_what_is_no_port(tmp_path: Path, written: str) -> None:
    """One problem at the value."""
    (problem,) = problems(tmp_path, service(f"command: [x]\nport: {written}"))
    assert problem.startswith("config.yaml:4:11: services.a.port: ")


@pytest.mark.parametrize("written", ["cuda", "-1", "[]", "[0, 0]", "true", "1.5", "{a: 1}", "GPU-", "[auto]"])
def test_what_is_no_gpu(tmp_path: Path, written: str) -> None:
    """One problem at the value."""
    (problem,) = problems(tmp_path, service(f"command: [x]\ngpu: {written}"))
    assert problem.startswith("config.yaml:4:10: services.a.gpu: ")


def test_no_is_not_false(tmp_path: Path) -> None:
    """A word where true or false is meant is a mistake that is said."""
    assert problems(tmp_path, service("command: [x]\nenabled: no")) == [
        "config.yaml:4:14: services.a.enabled: must be true or false, not 'no'"
    ]


def test_a_mistake_in_defaults_is_said_once(tmp_path: Path) -> None:
    """Not once for each service, and under the key where it stands."""
    text = "defaults: {stop: {grace: soon}}\nservices: {a: {command: [x]}, b: {command: [x]}}\n"
    (problem,) = problems(tmp_path, text)
    assert problem.startswith("config.yaml:1:26: defaults.stop.grace: must be a duration")


def test_every_problem_at_once_with_place_and_guess(tmp_path: Path) -> None:
    """Nine mistakes of nine kinds, in the order of the file, each at its line and column."""
    text = """\
projct: x
services:
  memory:
    server: memroy
    prot: 5000
  bad.name:
    command: [x]
    restart: {polcy: always}
    replicas: many
    replicas: 2
    depends_on: {memry: ready}
    env: {A: "${NOPE}"}
"""
    assert problems(tmp_path, text) == [
        "config.yaml:1:1: projct: unknown key; did you mean 'project'?",
        "config.yaml:4:13: services.memory.server: must be memory or inference, not 'memroy'; "
        "did you mean 'memory'?",
        "config.yaml:5:5: services.memory.prot: unknown key; did you mean 'port'?",
        "config.yaml:6:3: services.bad.name: a service name is 1 to 63 of A-Z, a-z, 0-9, '_' and '-', "
        "and does not start with '-'",
        "config.yaml:8:15: services.bad.name.restart.polcy: unknown key; did you mean 'policy'?",
        "config.yaml:9:15: services.bad.name.replicas: must be a whole number, not 'many'",
        "config.yaml:10:5: services.bad.name.replicas: the key is here twice; the first is on line 9",
        "config.yaml:11:18: services.bad.name.depends_on.memry: there is no service 'memry'; "
        "did you mean 'memory'?",
        "config.yaml:12:15: services.bad.name.env.A: the variable NOPE is not set; "
        "set it, or give a default: ${NOPE:-default}",
    ]


def test_an_unknown_key_explains_what_is_missing(tmp_path: Path) -> None:
    """`comand` suppresses "needs a command", and the mistakes inside it."""
    assert problems(tmp_path, service("comand: run ${PORT}")) == [
        "config.yaml:3:5: services.a.comand: unknown key; did you mean 'command'?"
    ]


@pytest.mark.parametrize(
    ("key", "meant"),
    [("environment", "env"), ("healthcheck", "health"), ("gpus", "gpu"), ("working_dir", "cwd")],
)
def test_words_of_other_supervisors_are_understood(tmp_path: Path, key: str, meant: str) -> None:
    """What it is called here."""
    assert f"did you mean '{meant}'?" in problems(tmp_path, service(f"command: [x]\n{key}: 1"))[0]


@pytest.mark.parametrize("name", ["health_s", "vram_bytes", "name", "max_s"])
def test_our_internal_names_are_no_keys(tmp_path: Path, name: str) -> None:
    """Only the documented names are."""
    assert "unknown key" in problems(tmp_path, service(f"command: [x]\n{name}: 1"))[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("# only a comment\n", "the file is empty"),
        ("- a\n", "not a mapping"),
        ("project: x\n", "is missing"),
        ("services:\n", "has no value"),
        ("services: {}\n", "is empty"),
        ("services: [a]\n", "must be a mapping"),
        ("services: {a: }\n", "has no value"),
        ("services: {a: 5}\n", "must be a mapping"),
        ("services: {a: {command: [x]}}\nproject: 5\n", "must be text"),
        ("services: {a: {command: []}}\n", "is empty"),
        ("services: {a: {command: 'x \"y'}}\n", "cannot be split"),
        ("services: {a: {command: [[x]]}}\n", "must be text"),
        ("services: {a: {command: [x], health: }}\n", "has no value"),
        ("services: {a: {command: [x], env: {PORT: 1}}}\n", "set by the launcher"),
        ("services: {a: {command: [x], env: {CUDA_VISIBLE_DEVICES: 0}}}\n", "use the key 'gpu'"),
        ("services: {a: {command: [x], env: {'A B': 1}}}\n", "cannot be the name of a variable"),
        ("services: {a: {command: [x], stop: {signal: NOPE}}}\n", "must be one of TERM"),
        ("services: {a: {command: [x], health: {http: nope, timeout: 0s}}}\n", "must be a path that starts"),
    ],
)
def test_files_that_are_no_configuration(tmp_path: Path, text: str, message: str) -> None:
    """Each has a sentence that says what is needed."""
    assert message in "\n".join(problems(tmp_path, text))


def test_a_file_that_is_not_utf8_names_the_byte(tmp_path: Path) -> None:
    """With its line and column."""
    path = tmp_path / "config.yaml"
    path.write_bytes(b"project: a\n# caf\xe9\n")
    with pytest.raises(ConfigInvalid, match=r"config\.yaml:2:6: byte 0xe9 is not UTF-8"):
        load_config(path, {})


def test_a_missing_file_is_its_own_error(tmp_path: Path) -> None:
    """Exit 2, the path, and the mend."""
    with pytest.raises(ConfigMissing) as caught:
        load_config(tmp_path / "config.yaml", {})
    assert caught.value.exit_code == 2
    assert str(tmp_path) in str(caught.value)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """Said with the system's reason."""
    with pytest.raises(ConfigInvalid, match="cannot be read"):
        load_config(tmp_path, {})


@pytest.mark.parametrize(
    "keys", ["replicas: ${K}", "port: ${K}", "stop: {grace: '${K}'}", "gpu: x${K}y", "host: ${K}"]
)
def test_a_value_of_the_environment_is_not_repeated(tmp_path: Path, keys: str) -> None:
    """It may be a secret that landed under the wrong key; its variable is named instead."""
    (problem,) = problems(tmp_path, service(f"command: [x]\n{keys}"), {"K": "hunter two"})
    assert "hunter" not in problem


def test_lines_are_counted_as_yaml_counts_them(tmp_path: Path) -> None:
    """A form feed is no line break and U+2028 is one; the quoted line is the right one."""
    with pytest.raises(ConfigInvalid) as caught:
        load(tmp_path, "# a\x85# b\u2028# c\rprojct: x\r\nservices: {a: {command: [x]}}\n")
    (problem,) = caught.value.problems
    assert (problem.line, problem.column, problem.source) == (4, 1, "projct: x")


def test_marks_and_lines_are_kept_for_later_problems(tmp_path: Path) -> None:
    """A value's place and line; for what is not written the nearest place above."""
    config = load(tmp_path, service("command: [x]\nport: 5000"))
    assert config.mark("services.a.port") == "config.yaml:4:11"
    assert config.source("services.a.port") == "    port: 5000"
    assert config.mark("services.a.gpu") is None
    assert locate_problem(config, "services.a.port", "is taken").where == "config.yaml:4:11"
    assert locate_problem(config, "services.a.port", "x", at_key=True).where == "config.yaml:4:5"
    assert locate_problem(config, "services.a.cwd", "is gone").where == "config.yaml:2:3"


@pytest.mark.parametrize(
    "evil", ["; touch x", "$(touch x)", "a\nb", "../../etc/passwd", "%2e%2e", "a b", "-x", "a.0", "é", ""]
)
def test_a_service_name_is_a_plain_word(tmp_path: Path, evil: str) -> None:
    """Names become file names and URLs, so nothing else passes."""
    (problem,) = problems(tmp_path, f"services: {{{json.dumps(evil)}: {{command: [x]}}}}\n")
    assert "a service name is" in problem
    assert "\n" not in problem


@pytest.mark.parametrize("name", ["a", "slow_start", "Web-2", "_x", "9"])
def test_names_as_people_give_them(tmp_path: Path, name: str) -> None:
    """Letters of both cases, digits, underscores and hyphens."""
    assert list(load(tmp_path, f"services: {{{name}: {{command: [x]}}}}\n").services) == [name]


def test_the_launchers_own_log_keeps_its_name(tmp_path: Path) -> None:
    """A service of that name would write into it."""
    (problem,) = problems(tmp_path, "services: {supervisor: {command: [x]}}\n")
    assert "the launcher's own log" in problem
