"""`config check`, `show` and `schema` as a user calls them."""

import json
from pathlib import Path

import pytest

from launcher import cli


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that we are in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, text: str) -> None:
    """The config file of `folder`."""
    (folder / "config.yaml").write_text(text, encoding="utf-8")


def test_a_right_file_is_said_to_be_right(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On stdout, exit 0; found from a folder below as well."""
    write(folder, "services: {m: {server: memory}, c: {command: [sh]}}\n")
    (folder / "below").mkdir()
    assert cli.main(["-C", "below", "config", "check"]) == 0
    assert capsys.readouterr().out == "config.yaml is right: 2 services (m, c)\n"


def test_every_mistake_is_shown_with_its_line_and_caret(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exact form of the contract, on stderr, exit 2, nothing on stdout."""
    write(folder, "services:\n  m:\n    server: memory\n    prot: 5000\n    replicas: no\n")
    assert cli.main(["config", "check"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "config.yaml:4:5: services.m.prot: unknown key; did you mean 'port'?\n"
        "   4 |     prot: 5000\n"
        "     |     ^^^^\n"
        "config.yaml:5:15: services.m.replicas: must be a whole number, not 'no'\n"
        "   5 |     replicas: no\n"
        "     |               ^^\n"
        "error[E_CONFIG]: 2 errors; nothing was started or changed.\n"
    )


def test_the_servers_options_are_checked_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the server itself, at their place in this file."""
    write(folder, "services:\n  m:\n    server: memory\n    options: {modle: x}\n")
    assert cli.main(["config", "check"]) == 2
    assert "config.yaml:4:15: services.m.options.modle: " in capsys.readouterr().err


def test_a_missing_model_is_the_environments_fault(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 6, with the code and the line."""
    write(folder, "services: {m: {server: memory, options: {model: no/such-model}}}\n")
    assert cli.main(["config", "check"]) == 6
    assert "error[E_MODEL_NOT_FOUND]" in capsys.readouterr().err


def test_no_file_at_all(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2, where it was looked for, and the mend."""
    assert cli.main(["config", "check"]) == 2
    err = capsys.readouterr().err
    assert "error[E_CONFIG_MISSING]" in err
    assert "hint:" in err


def test_show_is_yaml_with_origins(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What it prints passes `config check`."""
    write(folder, "services:\n  m:\n    server: memory\n    replicas: 1\n")
    assert cli.main(["config", "show"]) == 0
    shown = capsys.readouterr().out
    assert any(line.split("#")[0].strip() == "port: 5000" and "default" in line for line in shown.split("\n"))
    assert "# config.yaml:4:15" in shown
    write(folder, shown)
    assert cli.main(["config", "check"]) == 0


def test_show_json_is_one_document(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With its schema's name."""
    write(folder, "services: {m: {server: memory}}\n")
    assert cli.main(["config", "show", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "lucid.config/1"
    assert document["services"]["m"]["port"] == 5000


def test_schema_is_the_one_that_ships(capsys: pytest.CaptureFixture[str]) -> None:
    """So that it can be written over the shipped file."""
    assert cli.main(["config", "schema"]) == 0
    shipped = Path(__file__).parents[3] / "docs" / "reference" / "config.schema.json"
    assert capsys.readouterr().out == shipped.read_text(encoding="utf-8")
