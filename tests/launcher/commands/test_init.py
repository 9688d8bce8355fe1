"""`init`: a file for this machine, never over another one unasked."""

import json
from pathlib import Path

import pytest

from launcher.config import load_config
from launcher.configuration.schema import config_schema
from tests.launcher.commands.conftest import Run


@pytest.fixture
def empty(project: Path) -> Path:
    """The project folder without its config file."""
    (project / "config.yaml").unlink()
    return project


def test_it_writes_a_file_that_is_right_and_says_what_is_next(empty: Path, run: Run) -> None:
    """The file reads without a problem, its schema lies beside it, findings and next step are on stderr."""
    done = run("init")
    assert done.code == 0
    assert done.out == ""
    assert sorted(load_config(empty / "config.yaml", {}).services) == ["inference", "memory"]
    assert json.loads((empty / ".config.schema.json").read_text()) == config_schema()
    first_line = (empty / "config.yaml").read_text().splitlines()[0]
    assert first_line == "# yaml-language-server: $schema=.config.schema.json"
    assert "next: lucid-launch up" in done.err
    assert [line.split()[1] for line in done.err.splitlines()[:-1]].count("gpu") == 1
    assert [path.name for path in empty.glob("*.new")] == []


def test_an_existing_file_is_left_alone(project: Path, run: Run) -> None:
    """Exit 5 with the two ways on, and not a byte is changed; `--force` replaces it."""
    before = (project / "config.yaml").read_text()
    done = run("init")
    assert done.code == 5
    assert "error[E_CONFIG_EXISTS]" in done.err
    assert "--force" in done.err
    assert (project / "config.yaml").read_text() == before
    assert run("init", "--force").code == 0
    assert (project / "config.yaml").read_text() != before


def test_print_writes_nothing(empty: Path, run: Run) -> None:
    """`--print` puts the file on stdout, where it can be piped, and leaves the folder as it was."""
    done = run("init", "--print")
    assert done.code == 0
    assert "services:" in done.out
    assert not (empty / "config.yaml").exists()


def test_json_holds_findings_and_file(empty: Path, run: Run) -> None:
    """`--json` is one document with the findings and the very text that was written."""
    document = json.loads(run("init", "--json").out)
    assert document["schema"] == "lucid.init/1"
    assert document["config"] == (empty / "config.yaml").read_text()
    assert {finding["name"] for finding in document["findings"]} >= {"gpu", "model"}


def test_a_folder_that_refuses_is_an_error_with_a_mend(empty: Path, run: Run) -> None:
    """What cannot be written is one sentence, not a traceback."""
    (empty / "file").write_text("")
    done = run("-f", "file/config.yaml", "init")
    assert done.code == 1
    assert "error[E_ACTION_FAILED]: cannot write" in done.err
    assert "-f PATH" in done.err
