"""Everything before the first spawn, with real sockets, real programs and the servers' real option checks."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from launcher.config import Config, load_config
from launcher.errors import (
    GpuMissing,
    LauncherError,
    PortInUse,
    VramShort,
)
from launcher.gpus import GpuReport
from launcher.placement import GpuFacts, GpuHolder
from launcher.planning.preflight import Prepared, prepare
from launcher.planning.seating import Seat
from launcher.sockets import bind_service, close_all

GIB = 1024**3
HOLD = """
import socket, sys
held = [socket.create_server(("127.0.0.1", int(port))) for port in sys.argv[1:] if port.isdigit()]
print("held", flush=True)
sys.stdin.read()
"""


class Gpus:
    """Stands in for NVML."""

    def __init__(self, *gpus: GpuFacts, problem: str | None = None) -> None:
        self.report = GpuReport(gpus, "580", problem)
        self.reads = 0

    def read(self) -> GpuReport:
        """What was given."""
        self.reads += 1
        return self.report


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str], Config]:
    """Makes a Config from text."""

    def make(text: str) -> Config:
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        return load_config(path, {})

    return make


@pytest.fixture
def free_port() -> int:
    """A port that was free a moment ago."""
    held = bind_service("localhost", 0)
    number = int(held[0].getsockname()[1])
    close_all(held)
    return number


@pytest.fixture
def other_process(free_port: int) -> Iterator[subprocess.Popen[str]]:
    """Another process, a session of its own, that listens on `free_port`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(free_port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.send_signal(signal.SIGKILL)
    process.communicate()


def run(config: Config, **options: object) -> Prepared:
    """`prepare` with this environment and no GPU unless given."""
    return prepare(config, environ=dict(os.environ), **{"gpu_reader": Gpus(), **options})  # type: ignore[arg-type]  # checked by what it does


def failure(config: Config, **options: object) -> LauncherError:
    """The error that `prepare` raises; and that it leaves no socket behind."""
    before = psutil.Process().num_fds()
    with pytest.raises(LauncherError) as caught:
        run(config, **options)
    assert psutil.Process().num_fds() == before
    return caught.value


def test_sockets_are_held_for_servers_and_only_tried_for_commands(
    config: Callable[[str], Config], free_port: int
) -> None:
    """A server inherits listening sockets; a command binds for itself on a port that was free."""
    made = config(
        f"services:\n  m: {{server: memory, port: {free_port}, gpu: none}}\n"
        f"  c: {{command: [{sys.executable}], port: auto, health: {{http: /}}}}\n"
        f"  n: {{command: [{sys.executable}]}}\n"
    )
    prepared = run(made)
    m, c, n = prepared.children.values()
    assert (m.port, m.url) == (free_port, f"ws://localhost:{free_port}")
    assert {sock.getsockname()[1] for sock in m.sockets} == {free_port}
    assert c.sockets == ()
    assert c.url == f"http://localhost:{c.port}"
    assert (n.port, n.url, n.sockets) == (None, None, ())
    assert c.port is not None
    close_all(bind_service("localhost", c.port))
    prepared.close()
    close_all(bind_service("localhost", free_port))


def test_every_port_conflict_in_one_message(
    config: Callable[[str], Config], free_port: int, other_process: subprocess.Popen[str]
) -> None:
    """With the holder's pid, command, user and folder, the line of the file, and the mend."""
    made = config(
        f"services:\n  a:\n    command: [{sys.executable}]\n    port: {free_port}\n"
        f"  b:\n    command: [{sys.executable}]\n    port: {free_port}-{free_port}\n"
    )
    error = failure(made)
    assert isinstance(error, PortInUse)
    assert error.exit_code == 5
    text = error.render()
    assert text.count("error[E_PORT_IN_USE]") == 2
    for part in (
        f"a cannot listen on localhost:{free_port}",
        f"config.yaml:4:11 |     port: {free_port}",
        f"pid {other_process.pid}",
        f"user {psutil.Process().username()}",
        f"cwd {os.getcwd()}",
        f"kill {other_process.pid}",
    ):
        assert part in text


def test_a_port_of_another_stack_is_freed_by_stopping_that(
    config: Callable[[str], Config], free_port: int
) -> None:
    """What a launcher keeps alive would come back if it were killed."""
    words = ["launcher.guardian", "--config", "/srv/my stack.yaml"]
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(free_port), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        text = failure(config(f"services: {{a: {{command: [sh], port: {free_port}}}}}\n")).render()
        holder.communicate()
    assert f"pid {holder.pid}" in text
    assert "lucid-launch -f '/srv/my stack.yaml' down" in text
    assert "kill" not in text


def test_a_fallback_is_noted_with_the_holder(
    config: Callable[[str], Config], free_port: int, other_process: subprocess.Popen[str]
) -> None:
    """And refused where it was forbidden."""
    made = config(f"services: {{i: {{server: inference, port: {free_port}-{free_port + 9}, gpu: none}}}}\n")
    prepared = run(made)
    prepared.close()
    child = prepared.children["i"]
    assert child.fallback_port
    assert child.port != free_port
    (note,) = prepared.notes
    assert f"port {free_port} is held by pid {other_process.pid}" in note
    assert isinstance(failure(made, strict_ports=True), PortInUse)


def test_a_port_of_our_own_child_counts_as_free(
    config: Callable[[str], Config], free_port: int, other_process: subprocess.Popen[str]
) -> None:
    """A restart of a command must not trip over its own old process."""
    made = config(f"services: {{a: {{command: [{sys.executable}], port: {free_port}}}}}\n")
    prepared = run(made, own_pids=[other_process.pid])
    assert prepared.children["a"].port == free_port


def test_held_sockets_are_used_again(config: Callable[[str], Config], free_port: int) -> None:
    """The very same ones while the port fits, fresh ones when it does not; never closed here."""
    held = {"m": bind_service("localhost", free_port)}
    same = run(config(f"services: {{m: {{server: memory, port: {free_port}, gpu: none}}}}\n"), held=held)
    assert same.children["m"].sockets is held["m"]
    other = run(config("services: {m: {server: memory, port: auto, gpu: none}}\n"), held=held)
    assert other.children["m"].port == free_port
    narrower = f"server: memory, port: {free_port}, gpu: none, host: 127.0.0.1"
    alone = run(config(f"services: {{m: {{{narrower}}}}}\n"), held=held)
    assert alone.children["m"].sockets == held["m"][:1]
    assert alone.notes == (["m listens at 127.0.0.1 now, and no more at ::1"] if len(held["m"]) > 1 else [])
    foreign = f"inherit_sockets: true, port: {free_port}, host: 203.0.113.7"
    nowhere = config(f"services: {{m: {{command: [{sys.executable}], {foreign}}}}}\n")
    assert isinstance(failure(nowhere, held=held), PortInUse)
    elsewhere = "inherit_sockets: true, port: 1, host: 203.0.113.7"
    moved = config(f"services: {{m: {{command: [{sys.executable}], {elsewhere}}}}}\n")
    assert isinstance(failure(moved, held=held), PortInUse)
    assert all(sock.fileno() >= 0 for sock in held["m"])
    close_all(held["m"])


def test_only_the_named_services_are_prepared(config: Callable[[str], Config]) -> None:
    """And none that is not enabled."""
    made = config(
        f"services:\n  a: {{command: [{sys.executable}]}}\n  b: {{command: [nope]}}\n"
        "  c: {command: [nope], enabled: false}\n"
    )
    assert list(run(made, only=["a", "c"]).children) == ["a"]


def test_a_named_gpu_must_exist(config: Callable[[str], Config]) -> None:
    """Exit 6 at the line of `gpu`, with what there is; the port is not kept."""
    made = config(f"services:\n  a:\n    command: [{sys.executable}]\n    port: auto\n    gpu: 3\n")
    error = failure(made, gpu_reader=Gpus(GpuFacts("GPU-0-uuid", 0, "H200", 80 * GIB, 70 * GIB)))
    assert isinstance(error, GpuMissing)
    assert error.where == "config.yaml:5:10"
    assert error.hint is not None
    assert "GPU-0-uuid" in error.hint


def test_memory_of_our_own_children_counts_as_free(config: Callable[[str], Config]) -> None:
    """A restart needs what its predecessor gives back."""
    made = config(f"services: {{a: {{command: [{sys.executable}], gpu: 0, vram: 40GiB}}}}\n")
    full = Gpus(GpuFacts("GPU-0-uuid", 0, "H200", 80 * GIB, 10 * GIB, (GpuHolder(77, 60 * GIB),)))
    error = failure(made, gpu_reader=full)
    assert isinstance(error, VramShort)
    assert error.where is not None
    prepared = run(made, gpu_reader=full, seats={"a": Seat(("GPU-0-uuid",), 77)})
    assert prepared.children["a"].gpu.cuda_visible_devices == "GPU-0-uuid"


def test_the_cpu_in_place_of_a_gpu_is_noted(config: Callable[[str], Config]) -> None:
    """For a server, and for a command that asked; the driver is not even asked when nobody wants a GPU."""
    text = "services: {{m: {{server: memory, port: auto, gpu: {0}}}, c: {{command: [{1}]}}}}\n"
    gpus = Gpus(problem="no driver")
    prepared = run(config(text.format("auto", sys.executable)), gpu_reader=gpus)
    prepared.close()
    assert len(prepared.notes) == 1
    assert "m runs on the CPU" in prepared.notes[0]
    nobody = Gpus()
    run(config(text.format("none", sys.executable)), gpu_reader=nobody, only=["m"]).close()
    assert nobody.reads == 0


def test_a_preset_of_the_environment_is_said(
    config: Callable[[str], Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which of the two wins."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    made = config(f"services: {{a: {{command: [{sys.executable}], gpu: 1}}}}\n")
    gpus = Gpus(*(GpuFacts(f"GPU-{n}-uuid", n, "H200", GIB, GIB) for n in range(2)))
    prepared = run(made, gpu_reader=gpus)
    assert prepared.children["a"].gpu.ids == ("GPU-1-uuid",)
    assert "CUDA_VISIBLE_DEVICES=0 is set" in prepared.notes[0]


@pytest.mark.parametrize(
    ("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "localhost"), ("localhost", "localhost")]
)
def test_the_url_is_one_that_a_client_here_can_use(
    config: Callable[[str], Config], host: str, shown: str
) -> None:
    """An address that stands for all of them is no place to connect to."""
    made = config(f"services: {{a: {{command: [{sys.executable}], host: {host}, port: auto}}}}\n")
    child = run(made).children["a"]
    assert child.url == f"http://{shown}:{child.port}"


def test_sockets_survive_as_real_listeners(config: Callable[[str], Config]) -> None:
    """A client connects before any server exists."""
    prepared = run(config("services: {m: {server: memory, port: auto, gpu: none}}\n"))
    port = prepared.children["m"].port
    with socket.create_connection(("127.0.0.1", port or 0), timeout=5):
        prepared.close()
