"""Sources, limits and the check of an options object."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from servers.errors import BadSettings
from servers.settings import (
    EmbeddingSettings,
    OptionProblem,
    ServerSettings,
    check_options,
    is_loopback,
    option_problems,
    read_settings,
    wants_check,
)


class BothSettings(ServerSettings, EmbeddingSettings):
    """What the two servers do: both sets, flat."""


def test_argv_beats_environment_beats_defaults() -> None:
    """The launcher's assignment of port and host beats the options of the service as a whole."""
    environ = {
        "LUCID_OPTIONS": '{"port": 1, "model": "m", "device": "cpu"}',
        "PORT": "2",
        "HOST": "127.0.0.1",
    }
    settings = read_settings(BothSettings, ["--port", "3", "--set", "drain_s=1.5"], environ)
    assert (settings.port, settings.host, settings.drain_s) == (3, "127.0.0.1", 1.5)
    assert (settings.model, settings.device, settings.backend) == ("m", "cpu", "auto")
    assert read_settings(BothSettings, [], {}).model == "all-MiniLM-L6-v2"
    assert read_settings(BothSettings, [], environ).port == 2


def test_the_launchers_budget_of_gpu_memory_is_taken_by_who_has_a_model() -> None:
    """LUCID_VRAM_BYTES caps the engine; a server without one is not troubled by it."""
    environ = {"LUCID_VRAM_BYTES": "2000000000"}
    assert read_settings(BothSettings, [], environ).vram_bytes == 2_000_000_000
    assert read_settings(ServerSettings, [], environ).port is None


def test_set_takes_json_or_plain_text() -> None:
    """Lists and numbers as JSON, words as they are."""
    settings = read_settings(
        BothSettings, ["--set", 'allowed_origins=["null","https://A.example/"]', "--set", "backend=debug"], {}
    )
    assert settings.allowed_origins == ("null", "https://a.example")
    assert settings.backend == "debug"


def test_every_bad_option_is_named_at_once() -> None:
    """One run shows all problems."""
    with pytest.raises(BadSettings) as raised:
        read_settings(BothSettings, ["--device", "gpu", "--set", "max_in_flight=0"], {})
    assert "device" in str(raised.value)
    assert "max_in_flight" in str(raised.value)
    assert raised.value.exit_code == 78


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_broken_options_in_the_environment_are_refused(text: str) -> None:
    """The launcher's own mistake is named too."""
    with pytest.raises(BadSettings, match="LUCID_OPTIONS"):
        read_settings(BothSettings, [], {"LUCID_OPTIONS": text})


def test_set_without_a_value_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """argparse's own code for a malformed command line."""
    with pytest.raises(SystemExit) as raised:
        read_settings(BothSettings, ["--set", "drain_s"], {})
    assert raised.value.code == 2
    assert "KEY=VALUE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            {"devise": "cpu"},
            OptionProblem(("devise",), "unknown", "unknown option", "did you mean 'device'?"),
        ),
        ([], OptionProblem((), "invalid", "options must be an object")),
    ],
)
def test_unknown_options_are_told_the_nearest_name(options: object, problem: OptionProblem) -> None:
    """The launcher shows this with line and column."""
    assert option_problems(BothSettings, options) == [problem]


@pytest.mark.parametrize(
    "options",
    [
        {"port": 70_000},
        {"device": "cuda:"},
        {"backend": "tensorflow"},
        {"token": ""},
        {"token": "with space in it"},
        {"token": "long-enough-token", "token_file": "/x"},
        {"allowed_origins": ["localhost:3000"]},
        {"allowed_origins": ["https://a.example/path"]},
        {"max_message_bytes": 10},
    ],
)
def test_values_out_of_range_are_invalid(options: dict[str, object]) -> None:
    """Each has exactly one problem of that kind."""
    assert [problem.code for problem in option_problems(BothSettings, options)] == ["invalid"]


def test_a_token_never_shows() -> None:
    """Neither in the representation nor in a problem's message."""
    assert "canary" not in repr(ServerSettings(token=SecretStr("canary-canary")))
    (problem,) = option_problems(ServerSettings, {"token": "canary canary"})
    assert "canary" not in problem.message


def test_only_a_longer_token_or_an_explicit_word_opens_an_address_to_others() -> None:
    """On loopback any token will do; a network has more time to guess."""
    assert ServerSettings(token=SecretStr("short")).read_token() == "short"
    for options in ({}, {"token": "short"}):
        with pytest.raises(BadSettings, match="at least 8"):
            ServerSettings.model_validate(options).require_guard("0.0.0.0")
    for options in ({"token": "eight-or-more"}, {"insecure": True}):
        ServerSettings.model_validate(options).require_guard("0.0.0.0")


def test_the_token_file_is_read(tmp_path: Path) -> None:
    """Its first line; without a file there is no start."""
    path = tmp_path / "token"
    path.write_text("s3cret-token\n", "utf-8")
    assert ServerSettings(token_file=path).read_token() == "s3cret-token"
    assert ServerSettings(token=SecretStr("direct-token")).read_token() == "direct-token"
    assert ServerSettings().read_token() is None
    path.write_text("", "utf-8")
    for unusable in (path, tmp_path / "absent"):
        with pytest.raises(BadSettings, match="token"):
            ServerSettings(token_file=unusable).read_token()


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost", True), ("127.0.0.1", True), ("127.9.9.9", True), ("[::1]", True), ("::1", True)]
    + [(host, False) for host in ("0.0.0.0", "::", "192.168.1.5", "mybox", "localhost.evil.com")],  # refused
)
def test_loopback_is_known_without_a_resolver(host: str, expected: bool) -> None:
    """A name that DNS decides is not loopback."""
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    ("given", "code", "kinds"),
    [
        ("", 0, []),
        ('{"model": "present"}', 0, []),
        ('{"model": "absent"}', 78, ["model_missing"]),
        ('{"modell": "x", "port": -1}', 78, ["invalid", "unknown"]),
        ("{", 78, ["invalid"]),
    ],
)
def test_the_check_prints_problems_as_json(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    given: str,
    code: int,
    kinds: list[str],
) -> None:
    """The launcher reads the list; the exit code says whether it is empty."""

    def find(settings: BothSettings) -> list[OptionProblem]:
        missing = OptionProblem(("model",), "model_missing", "not here", "copy it")
        return [missing] if settings.model == "absent" else []

    monkeypatch.setattr(sys, "stdin", io.StringIO(given))
    assert check_options(BothSettings, find) == code
    printed = json.loads(capsys.readouterr().out)
    assert sorted(problem["code"] for problem in printed) == kinds
    assert all(set(problem) == {"loc", "code", "message", "hint"} for problem in printed)


def test_the_check_is_asked_for_by_its_flag() -> None:
    """Servers look before they read their settings."""
    assert wants_check(["--check-options"])
    assert not wants_check(["--port", "1"])


def test_reading_settings_imports_nothing_heavy() -> None:
    """The check must answer before a person notices."""
    code = (
        "import sys, servers.settings; print([m for m in ('torch', 'numpy', 'uvicorn') if m in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert found.stdout.strip() == "[]"
