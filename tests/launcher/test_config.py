"""config.yaml in, a frozen Config out, or every problem at once."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import ValidationError

from launcher.config import Config, child_names, load_config, locate_problem
from launcher.config_models import AutoGpu, AutoPort, FixedPort, NamedGpus, NoGpu, PortRange
from launcher.errors import ConfigInvalid, ConfigMissing

SHIPPED = Path(__file__).parents[2] / "config.yaml"


def load(tmp_path: Path, text: str, environ: Mapping[str, str] | None = None) -> Config:
    """The Config of `text`."""
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, environ or {})


def problems(tmp_path: Path, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """Each problem of `text`, as its one line."""
    with pytest.raises(ConfigInvalid) as caught:
        load(tmp_path, text, environ)
    assert caught.value.exit_code == 2
    return [str(problem) for problem in caught.value.problems]


def service(keys: str) -> str:
    """A file with one service `a` that has `keys`."""
    return "services:\n  a:\n" + "".join(f"    {line}\n" for line in keys.split("\n"))


def test_the_shipped_file_is_the_default_stack() -> None:
    """Memory on 5000, inference from 5005, readiness by `stats`, everything else as documented."""
    config = load_config(SHIPPED, {})
    assert list(config.services) == ["memory", "inference"]
    memory, inference = config.services.values()
    assert (memory.server, memory.port, memory.gpu) == ("memory", FixedPort(5000), AutoGpu())
    assert inference.port == PortRange(5005, 5014)
    assert memory.health.kind == "websocket"
    assert memory.health.websocket == "stats"
    assert memory.inherit_sockets
    assert memory.cwd == SHIPPED.parent
    assert memory.restart.backoff.initial_s == 0.5
    assert memory.logs.max_size_bytes == 10_000_000


def test_the_shipped_file_begins_with_the_schema_for_editors() -> None:
    """The first line is the modeline, and the schema it names is there."""
    first = SHIPPED.read_text().split("\n")[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert (SHIPPED.parent / first.partition("=")[2]).is_file()


def test_defaults_of_a_bare_service(tmp_path: Path) -> None:
    """The documented defaults, for a server and for a command."""
    config = load(
        tmp_path, "services:\n  m: {server: memory}\n  i: {server: inference}\n  c: {command: [x]}\n"
    )
    m, i, c = config.services.values()
    assert (m.port, i.port, c.port) == (FixedPort(5000), PortRange(5005, 5014), None)
    assert (m.inherit_sockets, c.inherit_sockets) == (True, False)
    assert (m.health.kind, c.health.kind) == ("websocket", None)
    assert (c.restart.policy, c.restart.max_failures, c.restart.stable_after_s) == ("on-failure", 5, 60.0)
    assert (c.stop.signal, c.stop.grace_s, c.replicas, c.enabled) == ("TERM", 10.0, 1, True)
    assert (c.health.period_s, c.health.timeout_s, c.health.failures) == (2.0, 2.0, 3)
    assert c.health.startup_budget_s == 120.0
    assert config.project == "lucid"


def test_a_config_cannot_be_changed(tmp_path: Path) -> None:
    """Frozen, down to the smallest model."""
    config = load(tmp_path, service("command: [x]"))
    with pytest.raises(ValidationError):
        config.services["a"].stop.grace_s = 1.0  # type: ignore[misc]  # what is tested is that it fails


@pytest.mark.parametrize(
    ("written", "port"),
    [("8000", FixedPort(8000)), ("'8000'", FixedPort(8000)), ("5-9", PortRange(5, 9)), ("auto", AutoPort())],
)
def test_ports(tmp_path: Path, written: str, port: object) -> None:
    """A number, a range, or auto."""
    assert load(tmp_path, service(f"command: [x]\nport: {written}")).services["a"].port == port


@pytest.mark.parametrize("written", ["0", "65536", "9-5", "x", "true", "1.5", "080", "5000-", "[1]", "-1"])
def test_what_is_no_port(tmp_path: Path, written: str) -> None:
    """One problem at the value."""
    (problem,) = problems(tmp_path, service(f"command: [x]\nport: {written}"))
    assert problem.startswith("config.yaml:4:11: services.a.port: ")


@pytest.mark.parametrize(
    ("written", "gpu"),
    [
        ("auto", AutoGpu()),
        ("none", NoGpu()),
        ("2", NamedGpus((2,))),
        ("[0, 1]", NamedGpus((0, 1))),
        ("GPU-6f0c1d2e", NamedGpus(("GPU-6f0c1d2e",))),
        ("[MIG-6f0c1d2e, 0]", NamedGpus(("MIG-6f0c1d2e", 0))),
    ],
)
def test_gpus(tmp_path: Path, written: str, gpu: object) -> None:
    """auto, none, an index, an identifier, or a list."""
    assert load(tmp_path, service(f"command: [x]\ngpu: {written}")).services["a"].gpu == gpu


@pytest.mark.parametrize("written", ["cuda", "-1", "[]", "[0, 0]", "true", "1.5", "{a: 1}", "GPU-", "[auto]"])
def test_what_is_no_gpu(tmp_path: Path, written: str) -> None:
    """One problem at the value."""
    (problem,) = problems(tmp_path, service(f"command: [x]\ngpu: {written}"))
    assert problem.startswith("config.yaml:4:10: services.a.gpu: ")


def test_text_is_kept_as_written(tmp_path: Path) -> None:
    """In `env` and `command` nothing is a number: no zero is lost."""
    a = load(tmp_path, service("command: [x, 010, 1.50, true]\nenv: {N: 007, F: 1e3, B: false}")).services[
        "a"
    ]
    assert a.command == ("x", "010", "1.50", "true")
    assert a.env == {"N": "007", "F": "1e3", "B": "false"}


def test_a_command_line_is_split_without_a_shell(tmp_path: Path) -> None:
    """Quotes group; `;`, `|` and `$(…)` are plain text; variables are put in after the split."""
    text = service("command: run 'a b' ; $(id) ${WORDS}")
    a = load(tmp_path, text, {"WORDS": "x y"}).services["a"]
    assert a.command == ("run", "a b", ";", "$(id)", "x y")


def test_restart_no_is_a_word(tmp_path: Path) -> None:
    """`no` is no boolean; as a restart policy it means never, and keeps the other defaults."""
    text = "defaults: {restart: {max_failures: 9}}\n" + service("command: [x]\nrestart: no")
    restart = load(tmp_path, text).services["a"].restart
    assert (restart.policy, restart.max_failures) == ("never", 9)


def test_no_is_not_false(tmp_path: Path) -> None:
    """A word where true or false is meant is a mistake that is said."""
    assert problems(tmp_path, service("command: [x]\nenabled: no")) == [
        "config.yaml:4:14: services.a.enabled: must be true or false, not 'no'"
    ]


def test_defaults_are_merged_deeply_and_the_service_wins(tmp_path: Path) -> None:
    """Key by key; origins tell which of the two a value is from."""
    config = load(
        tmp_path,
        "defaults:\n  stop: {grace: 3s, signal: INT}\n  env: {A: 1, B: 1}\n"
        + service("command: [x]\nstop: {signal: HUP}\nenv: {B: 2}"),
    )
    a = config.services["a"]
    assert (a.stop.signal, a.stop.grace_s) == ("HUP", 3.0)
    assert a.env == {"A": "1", "B": "2"}
    assert config.origins["services.a.stop.grace"] == "config.yaml:2:17"
    assert config.origins["services.a.stop.signal"] == "config.yaml:7:20"
    assert config.origins["services.a.env.A"] == "config.yaml:3:12"
    assert config.origins["services.a.replicas"] == "default"


def test_a_default_brings_in_no_contradiction(tmp_path: Path) -> None:
    """A service's own server or command, and its own kind of probe, drop those of the defaults."""
    text = "defaults: {server: memory, options: {model: m}, health: {websocket: stats, failures: 7}}\n"
    a = load(tmp_path, text + service("command: [x]\nport: 1\nhealth: {tcp: true}")).services["a"]
    assert (a.server, a.options) == (None, {})
    assert (a.health.kind, a.health.failures) == ("tcp", 7)


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
  Bad_Name:
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
        "config.yaml:6:3: services.Bad_Name: a service name is 1 to 63 of a-z, 0-9 and '-', "
        "and does not start with '-'",
        "config.yaml:8:15: services.Bad_Name.restart.polcy: unknown key; did you mean 'policy'?",
        "config.yaml:9:15: services.Bad_Name.replicas: must be a whole number, not 'many'",
        "config.yaml:10:5: services.Bad_Name.replicas: the key is here twice; the first is on line 9",
        "config.yaml:11:18: services.Bad_Name.depends_on.memry: there is no service 'memry'; "
        "did you mean 'memory'?",
        "config.yaml:12:15: services.Bad_Name.env.A: the variable NOPE is not set; "
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


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    """Windows editors write one."""
    path = tmp_path / "config.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + service("command: [x]").replace("\n", "\r\n").encode())
    assert list(load_config(path, {}).services) == ["a"]


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


def test_values_come_from_the_environment(tmp_path: Path) -> None:
    """An unquoted reference takes the type of its value; the origin names the variable."""
    text = service("command: [x]\nreplicas: ${N}\nport: ${FIRST:-7000}-7009\nenabled: ${ON:-true}")
    config = load(tmp_path, text, {"N": "3"})
    a = config.services["a"]
    assert (a.replicas, a.port, a.enabled) == (3, PortRange(7000, 7009), True)
    assert config.origins["services.a.replicas"] == "environment N"
    assert config.origins["services.a.port"] == "config.yaml:5:11"


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


def test_a_variable_cannot_bring_in_yaml(tmp_path: Path) -> None:
    """Its value is one scalar, whatever it holds."""
    a = load(tmp_path, service("command: [x, '${EVIL}']"), {"EVIL": "y]\nserver: memory"}).services["a"]
    assert a.command == ("x", "y]\nserver: memory")


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    """`cwd` and `env_file` become absolute; without `cwd` it is the file's folder."""
    config = load(tmp_path, service("command: [x]\ncwd: sub\nenv_file: .env"))
    assert config.services["a"].cwd == tmp_path / "sub"
    assert config.services["a"].env_file == tmp_path / ".env"
    assert config.root == tmp_path


def test_children_are_named(tmp_path: Path) -> None:
    """One has the service's name, several have a number."""
    config = load(tmp_path, service("command: [x]\nreplicas: 3") + "  b: {command: [x]}\n")
    assert child_names(config.services["a"]) == ("a.0", "a.1", "a.2")
    assert child_names(config.services["b"]) == ("b",)


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
    "evil", ["; touch x", "$(touch x)", "a\nb", "../../etc/passwd", "%2e%2e", "a b", "-x", "A"]
)
def test_a_service_name_is_a_plain_word(tmp_path: Path, evil: str) -> None:
    """Names become file names and URLs, so nothing else passes."""
    (problem,) = problems(tmp_path, f"services: {{{json.dumps(evil)}: {{command: [x]}}}}\n")
    assert "a service name is" in problem
    assert "\n" not in problem
