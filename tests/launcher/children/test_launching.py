"""launcher.children.launching: what is gathered from settings, seat and surroundings to start a program."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.children.launching import build_request, set_socket_mode
from launcher.placement import CPU, Assignment
from launcher.planning.prepared import PreparedChild
from launcher.spawning import SpawnRequest, StopRule
from tests.launcher.config_files import load
from tests.launcher.running.bench import Bench, Post, listening


@pytest.fixture
async def post(tmp_path: Path) -> AsyncIterator[Post]:
    """A supervisor whose surroundings are used."""
    bench = Bench(tmp_path)
    post = bench.supervisor()
    yield post
    await bench.close()


def build(post: Post, tmp_path: Path, keys: str, **changes: object) -> SpawnRequest:
    """The request for generation 4 of a child of a service with these keys."""
    service = load(tmp_path, f"services:\n  a: {{command: [prog, '${{PORT}}'], {keys}}}\n").services["a"]
    prepared = PreparedChild("a.1", service, 1, 6001, (), False, None, CPU)
    around = replace(post.around, peers=lambda: {"memory": "ws://localhost:7"}, rank=lambda name: 3)
    return build_request(service, replace(prepared, **changes), 4, tmp_path / "n1", around)


async def test_a_child_is_told_who_and_where_it_is(post: Post, tmp_path: Path) -> None:
    """Its name, generation, port, where to tell of itself, and where the others are."""
    request = build(post, tmp_path, "port: 6000-6010, env: {MINE: 'yes'}")
    environ = request.environ
    assert request.argv == ("prog", "6001")
    assert (environ["LUCID_CHILD"], environ["LUCID_GENERATION"], environ["PORT"]) == ("a.1", "4", "6001")
    assert environ["NOTIFY_SOCKET"] == str(tmp_path / "n1")
    assert environ["MINE"] == "yes"
    assert json.loads(environ["LUCID_PEERS"]) == {"memory": "ws://localhost:7"}
    assert environ["PATH"] == os.environ["PATH"]


async def test_sockets_only_for_those_that_take_them(post: Post, tmp_path: Path) -> None:
    """A service that binds by itself gets the port, and no socket in its way."""
    with listening() as one, listening() as two:
        request = build(post, tmp_path, "port: 6000-6010, inherit_sockets: true", sockets=(one, two))
        assert request.socket_fds == (one.fileno(), two.fileno())
        assert request.environ["LISTEN_FDS"] == "2"
        request = build(post, tmp_path, "port: 6000-6010", sockets=(one, two))
        assert request.socket_fds == ()
        assert "LISTEN_FDS" not in request.environ


async def test_how_it_is_stopped_when_nobody_is_left_to_ask(post: Post, tmp_path: Path) -> None:
    """Its own signal and grace, and how much rests on others."""
    request = build(post, tmp_path, "stop: {signal: INT, grace: 7s}")
    assert request.stop == StopRule(signal.SIGINT, 7.0, 3)


async def test_limits_folder_and_processors(post: Post, tmp_path: Path) -> None:
    """As the file says; near its GPUs where the placement knows them."""
    request = build(post, tmp_path, f"cwd: '{tmp_path}', limits: {{open_files: 512}}")
    assert (request.cwd, request.open_files, request.cpus) == (tmp_path, 512, None)
    one = min(os.sched_getaffinity(0))
    seat = Assignment(("GPU-0",), "cuda:0", "GPU-0", None, (one,))
    request = build(post, tmp_path, "gpu: auto", gpu=seat)
    assert request.environ["CUDA_VISIBLE_DEVICES"] == "GPU-0"
    assert set(request.cpus or {one}) == {one}


async def test_an_env_file_that_is_gone_is_an_error(post: Post, tmp_path: Path) -> None:
    """The caller says so for this generation; the next may find it again."""
    file = tmp_path / "env"
    file.write_text("A=1\n")
    assert build(post, tmp_path, f"env_file: '{file}'").environ["A"] == "1"
    file.unlink()
    with pytest.raises(OSError, match="env"):
        build(post, tmp_path, f"env_file: '{file}'")


async def test_who_shares_a_port_is_told_what_is_its_own(post: Post, tmp_path: Path) -> None:
    """The private socket comes last and is named so."""
    keys = "port: 6000-6010, inherit_sockets: true, port_mode: shared"
    with listening() as one, listening() as private:
        request = build(post, tmp_path, keys, sockets=(one, private), private_port=6999)
        assert request.socket_fds == (one.fileno(), private.fileno())
        assert request.environ["LISTEN_FDNAMES"] == "a:a.private"
        assert (request.environ["PORT"], request.environ["LUCID_PRIVATE_PORT"]) == ("6001", "6999")


@pytest.mark.parametrize(
    ("keys", "private_port", "blocks"),
    [
        ("inherit_sockets: true", None, True),
        ("inherit_sockets: true, port_mode: shared", 6999, False),
    ],
)
async def test_sockets_change_their_mode_for_the_next_generation_only(
    keys: str, private_port: int | None, blocks: bool, post: Post, tmp_path: Path
) -> None:
    """They block, unless siblings accept on them too; those of a living child stay as they are."""
    service = load(tmp_path, f"services:\n  a: {{command: [prog], port: 6000-6010, {keys}}}\n").services["a"]
    with listening() as held:
        prepared = PreparedChild(
            "a.1", service, 1, 6001, (held,), False, None, CPU, private_port=private_port
        )
        for before in (True, False):
            held.setblocking(before)
            build_request(service, prepared, 4, tmp_path / "n1", post.around)
            assert os.get_blocking(held.fileno()) is before
            set_socket_mode(service, prepared)
            assert os.get_blocking(held.fileno()) is blocks
