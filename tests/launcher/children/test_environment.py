"""launcher.children.environment and child_probe: what a child is told, and how it is asked."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from launcher.children.environment import ChildFacts, build_argv, build_environment, fill_in, thread_count
from launcher.children.exec_probe import ExecProbe
from launcher.children.parent import Parent
from launcher.children.probe import build_probe, probe_kind, probe_place
from launcher.children.probing import NotifyFacts, NotifyProbe
from launcher.configuration.models import Service
from launcher.probes import HttpProbe, TcpProbe, WebSocketProbe

FACTS = ChildFacts(
    "llm.0", 3, 8000, ("llm",), "/run/n1", "GPU-1", "cuda:0", {"memory": "ws://localhost:5000"}
)


def service(**keys: Any) -> Service:
    """A service that runs a command, with these keys."""
    return Service.model_validate({"name": "llm", "command": ["serve", "--port", "${PORT}"], **keys})


def test_contract_variables() -> None:
    """Every variable of launcher.md section 6 is there but those that the spawn itself adds."""
    environ = build_environment(service(host="127.0.0.1", cpus=4, options={"a": 1}), FACTS, {})
    assert environ["PORT"] == "8000"
    assert environ["HOST"] == "127.0.0.1"
    assert (environ["LUCID_SERVICE"], environ["LUCID_CHILD"], environ["LUCID_GENERATION"]) == (
        "llm",
        "llm.0",
        "3",
    )
    assert (environ["LISTEN_FDS"], environ["LISTEN_FDNAMES"]) == ("1", "llm")
    assert environ["NOTIFY_SOCKET"] == "/run/n1"
    assert (environ["CUDA_DEVICE_ORDER"], environ["CUDA_VISIBLE_DEVICES"]) == ("PCI_BUS_ID", "GPU-1")
    assert environ["OMP_NUM_THREADS"] == environ["MKL_NUM_THREADS"] == "4"
    assert json.loads(environ["LUCID_OPTIONS"]) == {"a": 1}
    assert json.loads(environ["LUCID_PEERS"]) == {"memory": "ws://localhost:5000"}


def test_precedence(tmp_path: Path) -> None:
    """The file wins over what is inherited, `env` over the file, and the contract over all."""
    env_file = tmp_path / ".env"
    env_file.write_text("# a comment\n\nexport A='file'\nB=\"file\"\nPORT=1\nC = spaced \nD=a=b\n")
    environ = build_environment(service(env_file=env_file, env={"B": "env"}), FACTS, {"A": "x", "Z": "kept"})
    assert (environ["A"], environ["B"], environ["C"], environ["D"]) == ("file", "env", "spaced", "a=b")
    assert (environ["Z"], environ["PORT"]) == ("kept", "8000")


def test_placeholders_in_the_environment() -> None:
    """A program that is told its port under another name gets the child's own; other words stay."""
    env = {"SERVER_ADDRESS": "${HOST}:${PORT}", "ME": "${LUCID_CHILD}", "HOME_": "$HOME ${HOME}"}
    environ = build_environment(service(host="127.0.0.1", env=env), FACTS, {"PORT": "1"})
    assert (environ["SERVER_ADDRESS"], environ["ME"]) == ("127.0.0.1:8000", "llm.0")
    assert environ["HOME_"] == "$HOME ${HOME}"


def test_the_supervisors_own_contract_is_not_inherited() -> None:
    """A supervisor that itself runs under another passes none of that one's variables on."""
    stale = dict.fromkeys(
        ["NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LUCID_CHILD", "PORT", "WATCHDOG_USEC"], "x"
    )
    facts = ChildFacts("a", 1, None, (), "/run/n1", "", "cpu", {})
    environ = build_environment(service(), facts, stale)
    assert "x" not in environ.values()
    assert "PORT" not in environ
    assert environ["CUDA_VISIBLE_DEVICES"] == ""


def test_only_our_own_programs_search_no_modules_in_their_folder() -> None:
    """A command's `python -m` finds its package; what the user has set is handed on."""
    facts = ChildFacts("a", 1, None, (), "/run/n1", "", "cpu", {})
    built_in = Service.model_validate({"name": "m", "server": "memory"})
    ours = {"PYTHONSAFEPATH": "1", "LUCID_SAFE_PATH": "1"}
    assert "PYTHONSAFEPATH" not in build_environment(service(), facts, ours)
    assert build_environment(built_in, facts, ours)["PYTHONSAFEPATH"] == "1"
    assert build_environment(service(), facts, {"PYTHONSAFEPATH": "1"})["PYTHONSAFEPATH"] == "1"


def test_missing_env_file_is_an_error(tmp_path: Path) -> None:
    """A file that is gone fails the spawn instead of starting without it."""
    with pytest.raises(FileNotFoundError):
        build_environment(service(env_file=tmp_path / "gone"), FACTS, {})


def test_placeholders_of_a_command() -> None:
    """`${PORT}` and kin are filled in; other words stay; an unknown name is empty."""
    environ = {"PORT": "8000", "LUCID_CHILD": "llm.0"}
    assert build_argv(service(), environ) == ("serve", "--port", "8000")
    words = ("${LUCID_CHILD}:${PORT}", "$PORT", "${HOME}", "${HOST}")
    assert fill_in(words, environ) == ("llm.0:8000", "$PORT", "${HOME}", "")


def test_built_in_server_runs_as_a_module() -> None:
    """A built-in server runs under the same interpreter."""
    built_in = Service.model_validate({"name": "memory", "server": "memory"})
    assert build_argv(built_in, {}) == (sys.executable, "-m", "servers.memory")


def test_thread_count() -> None:
    """`cpus` is a number of threads, or as many as there are processors in it."""
    assert [thread_count(service(cpus=cpus)) for cpus in (None, 3, [0, 1])] == [None, 3, 2]


@pytest.mark.parametrize(
    ("health", "kind"),
    [
        ({"http": "/x"}, HttpProbe),
        ({"tcp": True}, TcpProbe),
        ({"websocket": "stats"}, WebSocketProbe),
        ({"exec": ["true"]}, ExecProbe),
        ({"notify": True}, NotifyProbe),
    ],
)
def test_each_kind_of_health_has_its_probe(health: dict[str, object], kind: type) -> None:
    """The probe is the one that the file asks for; those that connect need a port."""
    asked, no_parent = service(health=health), cast(Parent, None)
    assert isinstance(build_probe(asked, ("127.0.0.1", 8000), {}, NotifyFacts(), no_parent), kind)
    if kind in (HttpProbe, TcpProbe, WebSocketProbe):
        with pytest.raises(LookupError, match="needs a port"):
            build_probe(asked, None, {}, NotifyFacts(), no_parent)


@pytest.mark.parametrize(
    ("health", "private_port", "place"),
    [
        ({"http": "/x"}, None, ("127.0.0.1", 8000)),
        ({"tcp": True}, 9000, ("127.0.0.1", 9000)),
        ({"exec": ["true"]}, 9000, None),
        ({"notify": True}, None, None),
    ],
)
def test_one_of_several_on_a_port_is_asked_at_its_own(
    health: dict[str, object], private_port: int | None, place: tuple[str, int] | None
) -> None:
    """The shared port cannot tell them apart; a probe that connects to nothing has no address."""
    assert probe_place(service(health=health), 8000, private_port) == place
    assert probe_place(service(health=health), None, None) is None


def test_default_probes() -> None:
    """A built-in server is asked over its WebSocket, a command not at all."""
    assert probe_kind(Service.model_validate({"name": "memory", "server": "memory"})) == "websocket"
    assert probe_kind(service()) is None
