"""A project folder, a scripted supervisor on its control socket, and a way to run one command line in it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from launcher import cli
from tests.launcher.control_double import ControlDouble, two_services


@dataclass(frozen=True)
class Outcome:
    """What one command line left behind."""

    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a config file, its own runtime folder, and a plain environment."""
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    for name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "LUCID_FILE", "LUCID_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "160")
    folder = tmp_path / "stack"
    (folder / "logs").mkdir(parents=True)
    (folder / "config.yaml").write_text("project: lucid\nservices: {}\n")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def control(project: Path) -> Iterator[ControlDouble]:
    """A supervisor's control socket with one ready and one starting service."""
    double = ControlDouble(project / "config.yaml", two_services())
    yield double
    double.close()


@pytest.fixture
def run(project: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run one command line in this process and return exit code, stdout and stderr."""

    def run_line(*argv: str) -> Outcome:
        capsys.readouterr()
        code = cli.main(list(argv))
        out, err = capsys.readouterr()
        return Outcome(code, out, err)

    return run_line
