"""`doctor`: each finding with its mend, and an exit code that a script can use."""

import json
import os
import resource
import shutil
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from launcher import cli
from launcher.gpus import GpuReport
from launcher.placement import GpuFacts
from launcher.planning import machine_checks
from launcher.planning.machine_checks import Check, check_machine
from launcher.planning.stack_checks import check_stack
from launcher.sockets import bind_service, close_all

GIB = 1024**3
H200 = GpuFacts("GPU-0-uuid", 0, "NVIDIA H200", 141 * GIB, 139 * GIB)


class Gpus:
    """Stands in for NVML."""

    def __init__(self, *gpus: GpuFacts) -> None:
        self.gpus = gpus

    def read(self) -> GpuReport:
        """What was given."""
        return GpuReport(self.gpus, "580", None if self.gpus else "no NVIDIA driver answers")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that we are in, with a private runtime folder."""
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def held() -> Iterator[tuple[socket.socket, ...]]:
    """A port of ours."""
    sockets = bind_service("localhost", 0)
    yield sockets
    close_all(sockets)


def machine(folder: Path, *gpus: GpuFacts) -> Mapping[str, Check]:
    """The machine's checks by name."""
    report = Gpus(*gpus).read()
    return {check.name: check for check in check_machine(folder / "config.yaml", report)}


def stack(folder: Path, text: str, *gpus: GpuFacts) -> list[Check]:
    """The checks of a config file."""
    (folder / "config.yaml").write_text(text)
    environ = {"PATH": "/usr/bin:/bin"}
    return list(check_stack(folder / "config.yaml", environ, Gpus(*gpus), [], {}))


def test_this_machine_can_run_the_stack(folder: Path) -> None:
    """Everything that the project itself needs is there; whatever is not ok has a mend."""
    checks = machine(folder)
    for name in (
        "python",
        "torch",
        "sentence-transformers",
        "sqlite",
        "logs",
        "data",
        "runtime folder",
        "pidfd",
    ):
        assert checks[name].status == "ok", checks[name]
    assert all(check.mend for check in checks.values() if check.status != "ok")


def test_no_gpu_is_a_warning_that_says_what_it_costs(folder: Path) -> None:
    """The CPU is slow, not wrong."""
    check = machine(folder)["gpu"]
    assert check.status == "warn"
    assert "many times slower" in check.detail
    found = machine(folder, H200)["gpu"]
    assert (found.status, "H200" in found.detail) == ("ok", True)


def test_a_torch_that_cannot_use_the_gpu_is_seen(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU build beside a GPU, without importing torch."""
    monkeypatch.setattr(machine_checks, "version", lambda name: "2.13.0+cpu")
    assert machine(folder, H200)["torch"].status == "warn"
    assert machine(folder)["torch"].status == "ok"


def test_a_package_that_is_not_installed_fails_with_the_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which pip of which Python."""
    monkeypatch.setattr(machine_checks.importlib.util, "find_spec", lambda name: None)
    checks = machine(folder)
    assert checks["torch"].status == checks["sqlite"].status == "FAIL"
    assert "-m pip install torch" in (checks["torch"].mend or "")


@pytest.mark.parametrize(("soft", "status"), [(256, "FAIL"), (1024, "warn"), (65536, "ok"), (-1, "ok")])
def test_the_open_file_limit(folder: Path, monkeypatch: pytest.MonkeyPatch, soft: int, status: str) -> None:
    """Too few, few, enough, unlimited."""
    monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, 65536))
    assert machine(folder)["open files"].status == status


@pytest.mark.parametrize(("free", "status"), [(10**8, "FAIL"), (10**9, "warn"), (10**10, "ok")])
def test_the_disk(folder: Path, monkeypatch: pytest.MonkeyPatch, free: int, status: str) -> None:
    """The store and the logs need room."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    assert machine(folder)["disk"].status == status


def test_a_folder_that_cannot_be_written_fails(folder: Path) -> None:
    """Here: a file where the folder should be."""
    (folder / "logs").touch()
    check = machine(folder)["logs"]
    assert check.status == "FAIL"
    assert str(folder / "logs") in check.detail


def test_a_wrong_file_is_one_failure(folder: Path) -> None:
    """The first mistake, how many more, and the verb that shows all."""
    (check,) = stack(folder, "services: {a: {comand: [x]}, b: {prot: 1}}\n")
    assert check.status == "FAIL"
    assert "did you mean 'command'" in check.detail
    assert "1 more" in check.detail
    assert "config check" in (check.mend or "")


def test_what_a_service_lacks_is_one_failure_each(folder: Path) -> None:
    """A model, a program, a GPU."""
    text = (
        "services:\n  m: {server: memory, port: auto, options: {model: no/such-model}}\n"
        "  c: {command: [pythn3], gpu: 3}\n"
    )
    failed = [check.name for check in stack(folder, text, H200) if check.status == "FAIL"]
    assert failed == ["model", "program", "placement"]


def test_ports_are_tried(folder: Path, held: tuple[socket.socket, ...]) -> None:
    """Free, taken with the holder, fallback with its price."""
    port = held[0].getsockname()[1]
    text = (
        f"services:\n  a: {{command: [sh], port: {port}}}\n  b: {{command: [sh], port: {port}-{port + 20}}}\n"
        "  c: {command: [sh], port: auto}\n"
    )
    ports = [check for check in stack(folder, text) if check.name.startswith("port")]
    assert [check.status for check in ports] == ["FAIL", "warn", "ok"]
    assert "by pid" in ports[0].detail
    assert "is held by pid" in ports[1].detail


def test_a_port_of_the_running_stack_is_no_conflict(folder: Path, held: tuple[socket.socket, ...]) -> None:
    """What this very stack holds is in good hands."""
    (folder / "config.yaml").write_text(
        f"services: {{a: {{command: [sh], port: {held[0].getsockname()[1]}}}}}\n"
    )
    checks = check_stack(folder / "config.yaml", {"PATH": "/usr/bin:/bin"}, Gpus(), [os.getpid()], {})
    (port,) = [check for check in checks if check.name.startswith("port")]
    assert (port.status, port.detail) == ("ok", "held by the running stack, for a")


def test_placement_is_shown_with_its_gpu(folder: Path) -> None:
    """Which child on which GPU."""
    checks = stack(folder, "services: {c: {command: [sh], gpu: 0}}\n", H200)
    (placed,) = [check for check in checks if check.name == "placement"]
    assert (placed.status, placed.detail) == ("ok", "c on GPU-0-uuid")


def test_the_verb_without_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Checks the machine all the same and says that there is no file."""
    code = cli.main(["doctor", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "lucid.doctor/1"
    assert document["ok"] is (code == 0)
    assert document["ok"] is all(check["status"] != "FAIL" for check in document["checks"])
    by_name = {check["name"]: check for check in document["checks"]}
    assert by_name["config"]["status"] == "warn"
    assert "lucid-launch init" in by_name["config"]["mend"]
    assert cli.main(["-f", "absent.yaml", "doctor"]) == 2


def test_the_verb_fails_when_something_is_wrong(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 1, the word FAIL, the mend under it, and the count."""
    (folder / "config.yaml").write_text("services: {a: {command: [pythn3]}}\n")
    assert cli.main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    place = next(place for place, line in enumerate(lines) if line.startswith("FAIL"))
    assert "pythn3" in lines[place]
    assert "mend: did you mean 'python" in lines[place + 1]
    assert lines[-1].endswith("1 failed")
