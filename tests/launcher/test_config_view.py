"""`config show`: the resolved file reads back as itself and tells no secret."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher.config import Config, load_config
from launcher.config_view import resolved_document, yaml_lines

TEXT = """\
defaults: {restart: {max_failures: 3}}
services:
  memory:
    server: memory
    vram: 2GB
    options: {path: data, token: hunter2hunter2, token_file: secret.txt}
  web:
    command: [serve, "--key=${API_KEY}", "${PORT}", $$HOME, "a b"]
    port: 8000-8009
    gpu: [0, 1]
    cpus: 0-3
    env:
      {DB: "postgres://ana:pa55word@db/x", ZERO: 007, NO: "no", MY_PASSWORD: swordfish, AT: "${HOST}:${PORT}"}
    health: {exec: [probe, "${PORT}"], startup_budget: 1h30m}
    depends_on: {memory: ready}
"""
ENV = {"API_KEY": "sk-canary-123", "HOME": "/home/ana"}


def load(path: Path, text: str) -> Config:
    """The Config of `text` at `path`."""
    path.write_text(text, encoding="utf-8")
    return load_config(path, ENV)


def test_it_reads_back_as_the_same_services(tmp_path: Path) -> None:
    """Every setting, default and escaped dollar sign survives; secrets are all that is lost."""
    text = TEXT.replace("token: hunter2hunter2, ", "").replace(", MY_PASSWORD: swordfish", "")
    text = text.replace("${API_KEY}", "x").replace(":pa55word", "")
    config = load(tmp_path / "config.yaml", text)
    again = load(tmp_path / "again.yaml", "\n".join(yaml_lines(config, ENV)))
    assert again.services == config.services


def test_no_secret_is_shown(tmp_path: Path) -> None:
    """Neither by its key's name, nor where its value shows up again, nor inside a URL."""
    config = load(tmp_path / "config.yaml", TEXT)
    for shown in ("\n".join(yaml_lines(config, ENV)), json.dumps(resolved_document(config, ENV))):
        for secret in ("hunter2", "sk-canary", "pa55word", "swordfish"):
            assert secret not in shown
        assert "secret.txt" in shown
        assert "--key=***" in shown
        assert "postgres://ana:***@db/x" in shown


@pytest.mark.parametrize(
    ("name", "is_hidden"),
    [
        ("HF_TOKEN", True),
        ("PGPASSWORD", True),
        ("AWS_SECRET_ACCESS_KEY", True),
        ("OPENAI_API_KEY", True),
        ("apikey", True),
        ("ENCRYPTION_KEY", True),
        ("PROXY_AUTH", True),
        ("MAX_TOKENS", False),
        ("KEYBOARD", False),
        ("AUTHOR", False),
        ("TOKEN_FILE", False),
    ],
)
def test_a_name_tells_what_is_secret(tmp_path: Path, name: str, is_hidden: bool) -> None:
    """The usual names of secrets, and none that only sounds like one."""
    config = load(tmp_path / "config.yaml", f"services: {{a: {{command: [x], env: {{{name}: abcdef1}}}}}}\n")
    assert ("abcdef1" not in "\n".join(yaml_lines(config, {}))) is is_hidden


def test_every_value_has_its_origin(tmp_path: Path) -> None:
    """The line of the file, the variable, or default; behind each value and in the document."""
    config = load(tmp_path / "config.yaml", TEXT)
    lines = list(yaml_lines(config, ENV))
    assert any(
        line.split("#")[0].strip() == "max_failures: 3" and "config.yaml:1:36" in line for line in lines
    )
    assert any(line.strip().startswith("grace: 10s") and line.endswith("# default") for line in lines)
    origins = resolved_document(config, ENV)["origins"]
    assert isinstance(origins, dict)
    assert origins["services.web.command.1"] == "environment API_KEY"
    assert origins["services.web.port"] == "config.yaml:9:11"
    assert origins["services.web.host"] == "default"


def test_the_document_has_its_schema_and_the_yaml_names(tmp_path: Path) -> None:
    """Units as in the file: durations as text, sizes in bytes."""
    document = resolved_document(load(tmp_path / "config.yaml", TEXT), ENV)
    assert document["schema"] == "lucid.config/1"
    services = document["services"]
    assert isinstance(services, dict)
    assert services["web"]["port"] == "8000-8009"
    assert services["web"]["health"]["startup_budget"] == "1h30m"
    assert services["memory"]["vram"] == 2_000_000_000


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    words=st.lists(
        st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")), min_size=1, max_size=4
    )
)
def test_any_argument_survives(tmp_path: Path, words: list[str]) -> None:
    """Quotes, colons, newlines, dollar signs and control characters in a command come back unchanged."""
    path = tmp_path / "config.yaml"
    quoted = json.dumps([word.replace("$", "$$") for word in words])
    config = load(path, f"services: {{a: {{command: {quoted}}}}}\n")
    assert config.services["a"].command == tuple(words)
    again = load(tmp_path / "again.yaml", "\n".join(yaml_lines(config, {})))
    assert again.services["a"].command == tuple(words)
