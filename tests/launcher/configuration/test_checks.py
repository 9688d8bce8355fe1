"""What may not stand together in config.yaml."""

from pathlib import Path

import pytest

from launcher.config import load_config
from launcher.configuration.checks import hosts_overlap
from launcher.errors import ConfigInvalid


def problems(tmp_path: Path, text: str) -> list[str]:
    """Each problem of `text`; empty when it is right."""
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    try:
        load_config(path, {})
    except ConfigInvalid as error:
        return [str(problem) for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("server: memory, command: [x]", "there is also 'server'"),
        ("port: 80", "needs 'server' (memory or inference) or 'command'"),
        ("command: [x], port: 80, replicas: 2", "let them share it with  port_mode: shared"),
        ("server: memory, replicas: 2", "a memory store has one server"),
        ("server: memory, port: 5000-5004, replicas: 2", "a memory store has one server"),
        ("command: [x], port: 80-81, replicas: 3", "fewer ports than the 3 replicas"),
        ("command: [x], port: auto, gpu: [0, 1, 2], replicas: 2", "3 GPUs cannot be dealt evenly to 2"),
        ("command: [x], port: 1, health: {http: /, tcp: true}", "2 kinds of probe (http, tcp)"),
        ("command: [x], health: {http: /}", "needs 'port'"),
        ("command: [x], options: {a: 1}", "built-in servers only"),
        ("command: [x], gpu: none, vram: 1GB", "no meaning with 'gpu: none'"),
        ("command: [x], inherit_sockets: true", "no socket to hand down"),
        ("command: [x], port: 1, while_starting: answer", "add  inherit_sockets: true"),
        ("server: memory, inherit_sockets: false, while_starting: answer", "add  inherit_sockets: true"),
        ("command: [x], port: 1, port_mode: shared", "add  inherit_sockets: true"),
        ("command: [x], port: 80, port_mode: shared, replicas: 2, inherit_sockets: false", "holds"),
        ("server: memory, port_mode: shared, replicas: 2", "a memory store has one server"),
        ("server: inference, port_mode: both", "each"),
        ("command: [x], restart: {backoff: {max: 1ms}}", "shorter than the first"),
        ("server: memory, host: 0.0.0.0", "set a token"),
        ("command: [x], depends_on: {a: ready}", "cannot depend on itself"),
        ("command: [x], port: 1, health: {http: /, canary: {type: x}}", "goes beside a websocket probe only"),
        ("command: [x], depends_on: {a: {condition: ready, restart: true}}", "cannot depend on itself"),
    ],
)
def test_one_service_that_contradicts_itself(tmp_path: Path, keys: str, message: str) -> None:
    """One problem, with what is wrong."""
    (problem,) = problems(tmp_path, f"services:\n  a: {{{keys}}}\n")
    assert message in problem


@pytest.mark.parametrize(
    "keys",
    [
        "command: [x], port: 80-82, replicas: 3",
        "command: [x], port: auto, gpu: [0, 1, 2, 3], replicas: 2",
        "command: [x], port: auto, gpu: 0, replicas: 4",
        "command: [x], health: {exec: [true]}",
        "command: [x], health: {notify: true}",
        "server: memory, host: 0.0.0.0, options: {token_file: t}",
        "server: memory, host: '::1'",
        "server: memory, while_starting: answer",
        "command: [x], port: 1, inherit_sockets: true, while_starting: answer",
        "server: inference, port: 80, port_mode: shared, replicas: 9",
        "server: inference, port: 80-81, port_mode: shared, replicas: 9",
        "command: [x], port: 80, inherit_sockets: true, port_mode: shared, replicas: 2",
        "command: [x], restart: {backoff: {initial: 1s, max: 1s}}",
        "command: [x], restart: {backoff: {initial: 2m}}",
    ],
)
def test_what_fits_together(tmp_path: Path, keys: str) -> None:
    """No problem."""
    assert problems(tmp_path, f"services:\n  a: {{{keys}}}\n") == []


def test_a_longest_delay_in_defaults_counts_as_written(tmp_path: Path) -> None:
    """The problem is at its place there."""
    text = "defaults: {restart: {backoff: {max: 5s}}}\n"
    text += "services: {a: {command: [x], restart: {backoff: {initial: 9s}}}}\n"
    (problem,) = problems(tmp_path, text)
    assert problem.startswith("config.yaml:1:37: defaults.restart.backoff.max: ")


def test_two_services_on_one_port(tmp_path: Path) -> None:
    """The later one is the problem, and names the other; a service that is off does not count."""
    text = "services:\n  a: {command: [x], port: 80}\n  b:\n    command: [x]\n    port: 80\n"
    assert problems(tmp_path, text) == ["config.yaml:5:11: services.b.port: port 80 is also the port of 'a'"]
    assert problems(tmp_path, text + "    enabled: false\n") == []


def test_the_default_port_clashes_too(tmp_path: Path) -> None:
    """Two memory servers without a port both want 5000."""
    (problem,) = problems(tmp_path, "services:\n  a: {server: memory}\n  b: {server: memory}\n")
    assert "port 5000 is also the port of 'a'" in problem


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        ("localhost", "localhost", True),
        ("localhost", "127.0.0.1", True),
        ("::1", "localhost", True),
        ("127.0.0.1", "::1", False),
        ("0.0.0.0", "10.0.0.1", True),
        ("localhost", "10.0.0.1", False),
        ("10.0.0.1", "10.0.0.2", False),
    ],
)
def test_ports_clash_only_where_addresses_meet(one: str, other: str, clash: bool) -> None:
    """Symmetric."""
    assert hosts_overlap(one, other) is clash
    assert hosts_overlap(other, one) is clash


def test_a_cycle_is_named_in_full_and_once(tmp_path: Path) -> None:
    """From its first member in the file back to it."""
    text = (
        "services:\n"
        "  a: {command: [x], depends_on: {b: ready}}\n"
        "  b: {command: [x], depends_on: {c: ready}}\n"
        "  c: {command: [x], depends_on: {a: started}}\n"
        "  d: {command: [x], depends_on: {a: started}}\n"
    )
    (problem,) = problems(tmp_path, text)
    assert problem.startswith("config.yaml:2:34: services.a.depends_on.b: ")
    assert problem.endswith("a -> b -> c -> a")


def test_two_cycles_are_two_problems(tmp_path: Path) -> None:
    """All at once."""
    pairs = {"a": "b", "b": "a", "c": "d", "d": "c"}
    lines = [f"  {one}: {{command: [x], depends_on: {{{other}: ready}}}}" for one, other in pairs.items()]
    found = problems(tmp_path, "services:\n" + "\n".join(lines) + "\n")
    assert [problem[problem.rindex(": ") + 2 :] for problem in found] == ["a -> b -> a", "c -> d -> c"]


def test_a_diamond_is_no_cycle(tmp_path: Path) -> None:
    """Two ways to the same service are fine."""
    text = (
        "services:\n  a: {command: [x], depends_on: {b: ready, c: ready}}\n"
        "  b: {command: [x], depends_on: {d: ready}}\n  c: {command: [x], depends_on: {d: ready}}\n"
        "  d: {command: [x]}\n"
    )
    assert problems(tmp_path, text) == []


def test_waiting_for_a_service_that_is_off(tmp_path: Path) -> None:
    """Would last for ever; unless the one that waits is off as well."""
    waits = "services:\n  a: {{command: [x], depends_on: {{b: ready}}{}}}\n"
    text = waits + "  b: {{command: [x], enabled: false}}\n"
    (problem,) = problems(tmp_path, text.format(""))
    assert "'b' is not enabled" in problem
    assert problems(tmp_path, text.format(", enabled: false")) == []


def test_checks_go_on_beside_a_refused_key(tmp_path: Path) -> None:
    """A wrong duration does not hide a wrong dependency, nor does a wrong port cause talk about ports."""
    keys = "command: [x], port: x, health: {tcp: true}, stop: {grace: x}, depends_on: {zz: ready}"
    text = f"services:\n  a: {{{keys}}}\n"
    assert [problem.split(": ")[1] for problem in problems(tmp_path, text)] == [
        "services.a.port",
        "services.a.stop.grace",
        "services.a.depends_on.zz",
    ]


def test_defaults_may_ask_for_answers_where_some_sockets_are_not_held(tmp_path: Path) -> None:
    """`defaults: {while_starting: answer}` holds for those services that it can hold for."""
    services = "services:\n  a: {command: [x], port: 1}\n  b: {server: memory}\n"
    assert problems(tmp_path, f"defaults: {{while_starting: answer}}\n{services}") == []


def test_a_shared_port_by_default_is_for_those_that_can(tmp_path: Path) -> None:
    """Under `defaults` it means every service whose socket the launcher holds, and no other."""
    path = tmp_path / "config.yaml"
    path.write_text(
        "defaults: {port_mode: shared}\nservices:\n  a: {server: inference, replicas: 2}\n"
        "  b: {command: [x], port: 7}\n  c: {command: [x]}\n"
        "  d: {command: [x], inherit_sockets: true, port: 8}\n",
        encoding="utf-8",
    )
    services = load_config(path, {}).services
    assert {name for name, service in services.items() if service.shares_port} == {"a", "d"}
