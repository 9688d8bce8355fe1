"""config.yaml in, a frozen Config out, or every problem at once."""

import signal
from pathlib import Path

import pytest
from pydantic import ValidationError

from launcher.config import child_names, load_config
from launcher.configuration.models import AutoGpu, AutoPort, FixedPort, NamedGpus, NoGpu, PortRange
from launcher.configuration.values import SIGNALS
from launcher.errors import ConfigInvalid
from tests.launcher.config_files import load, service

SHIPPED = Path(__file__).parents[2] / "config.yaml"


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


def test_a_first_delay_beyond_the_usual_longest_one_is_both(tmp_path: Path) -> None:
    """Who writes only the first means it."""
    a = load(tmp_path, service("command: [x]\nrestart: {backoff: {initial: 2m}}")).services["a"]
    assert (a.restart.backoff.initial_s, a.restart.backoff.max_s) == (120.0, 120.0)


@pytest.mark.parametrize(
    ("written", "name"),
    [("SIGINT", "INT"), ("term", "TERM"), ("2", "INT"), ("15", "TERM"), ("WINCH", "WINCH")],
)
def test_signals_are_known_by_name_and_number(tmp_path: Path, written: str, name: str) -> None:
    """As `kill` takes them; the name is one that the system has."""
    a = load(tmp_path, service(f"command: [x]\nstop: {{signal: {written}}}")).services["a"]
    assert a.stop.signal == name


def test_the_numbers_of_signals_are_this_systems() -> None:
    """What is written as a number is the signal that has it here."""
    assert {name: signal.Signals[f"SIG{name}"] for name in SIGNALS} == SIGNALS


@pytest.mark.parametrize("written", ["true", "0", "STOP", "SIGSIGTERM", "99", "2.0"])
def test_what_is_no_stop_signal(tmp_path: Path, written: str) -> None:
    """The message lists what there is."""
    with pytest.raises(ConfigInvalid, match="must be one of TERM"):
        load(tmp_path, service(f"command: [x]\nstop: {{signal: {written}}}"))


def test_the_variables_of_a_child_stay_in_its_environment(tmp_path: Path) -> None:
    """They are filled in for each child, even where the launcher has a PORT of its own."""
    text = service('command: [x]\nport: 80\nenv: {LISTEN: "${HOST}:${PORT}"}')
    assert load(tmp_path, text, {"PORT": "1"}).services["a"].env == {"LISTEN": "${HOST}:${PORT}"}


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    """Windows editors write one."""
    path = tmp_path / "config.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + service("command: [x]").replace("\n", "\r\n").encode())
    assert list(load_config(path, {}).services) == ["a"]


def test_values_come_from_the_environment(tmp_path: Path) -> None:
    """An unquoted reference takes the type of its value; the origin names the variable."""
    text = service("command: [x]\nreplicas: ${N}\nport: ${FIRST:-7000}-7009\nenabled: ${ON:-true}")
    config = load(tmp_path, text, {"N": "3"})
    a = config.services["a"]
    assert (a.replicas, a.port, a.enabled) == (3, PortRange(7000, 7009), True)
    assert config.origins["services.a.replicas"] == "environment N"
    assert config.origins["services.a.port"] == "config.yaml:5:11"


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
