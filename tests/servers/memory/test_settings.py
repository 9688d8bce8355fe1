"""The memory server's options and what is found wrong with them before a start."""

from pathlib import Path

import pytest

from servers.memory.scoring import DAY_MS, RankWeights, SignificanceWeights
from servers.memory.settings import MemorySettings, find_problems
from servers.settings import option_problems


def test_the_defaults_are_those_of_the_contract() -> None:
    """Weights, half life and threshold are what protocol.md says."""
    settings = MemorySettings()
    assert settings.rank_weights == RankWeights()
    assert settings.rules.weights == SignificanceWeights()
    assert settings.half_life_ms == 30 * DAY_MS
    assert settings.significance_threshold == 0.7


@pytest.mark.parametrize(
    "options",
    [
        {"significance_threshold": 1.1},
        {"half_life_days": 0},
        {"relevance_weight": -1},
        {"write_queue_rows": 0},
        {"duplicate_similarity": 0},
        {"no_such_option": 1},
    ],
)
def test_options_out_of_range_are_named(options: dict[str, object]) -> None:
    """The problem says which option is wrong."""
    (problem,) = option_problems(MemorySettings, options)
    assert problem.loc[0] in options


def test_a_path_that_is_a_file_is_a_problem(tmp_path: Path) -> None:
    """A folder is needed, and it may still have to be made."""
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        (problem,) = find_problems(MemorySettings(backend="debug", path=path))
        assert problem.loc == ("path",)
    assert find_problems(MemorySettings(backend="debug", path=tmp_path / "new" / "deep")) == []


def test_a_missing_model_is_a_problem(tmp_path: Path) -> None:
    """It is found offline, and not looked for when it may be downloaded."""
    missing = str(tmp_path / "no-model")
    (problem,) = find_problems(MemorySettings(model=missing, path=tmp_path))
    assert (problem.loc, problem.code) == (("model",), "model_missing")
    assert find_problems(MemorySettings(model=missing, path=tmp_path, download=True)) == []


def test_a_bad_store_is_refused_without_showing_it() -> None:
    """The address may hold a password, so the message says what is allowed, not what came."""
    (problem,) = option_problems(MemorySettings, {"store": "mysql://me:hush@host/x"})
    assert problem.loc == ("store",)
    assert "postgresql://" in problem.message
    assert "hush" not in str(problem)


@pytest.mark.parametrize(
    ("options", "module", "extra"),
    [({"store": "postgresql://h/x"}, "psycopg", "postgres"), ({"mcp": True}, "mcp", "mcp")],
)
def test_a_missing_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], module: str, extra: str
) -> None:
    """What an option needs is checked before the start, with the command that installs it."""
    monkeypatch.setattr("servers.memory.settings.find_spec", lambda name: None)
    settings = MemorySettings.model_validate({"backend": "debug", "path": tmp_path, **options})
    (problem,) = find_problems(settings)
    assert module in problem.message
    assert f"[{extra}]" in str(problem.hint)
