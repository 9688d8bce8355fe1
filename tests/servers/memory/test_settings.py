"""The memory server's options and what is found wrong with them before a start."""

import sys
import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from servers.errors import BadSettings
from servers.memory.scoring import DAY_MS, RankWeights, SignificanceWeights
from servers.memory.settings import EXTRAS, MemorySettings, find_problems, require_extras
from servers.settings import option_problems

ROOT = Path(__file__).parents[3]


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
    ("options", "module"), [({"store": "postgresql://h/x"}, "psycopg"), ({"mcp": True}, "mcp")]
)
def test_a_missing_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], module: str
) -> None:
    """What an option needs is checked before the start, with the command that installs it."""
    monkeypatch.setattr("servers.memory.settings.find_spec", lambda name: None)
    settings = MemorySettings.model_validate({"backend": "debug", "path": tmp_path, **options})
    (problem,) = find_problems(settings)
    assert module in problem.message
    assert problem.hint is not None
    assert problem.hint.startswith(f"{sys.executable} -m pip install '{module}")
    with pytest.raises(BadSettings, match="-m pip install"):
        require_extras(settings)


def test_what_the_mend_installs_is_what_the_project_was_tested_with() -> None:
    """The ranges are those of the extras in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert extras["mcp"] == [EXTRAS["mcp"][1]]
    assert extras["postgres"] == [EXTRAS["store"][1]]


def test_nothing_is_missing_where_nothing_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The packages are needed by who sets the option, by nobody else."""
    monkeypatch.setattr("servers.memory.settings.find_spec", lambda name: None)
    require_extras(MemorySettings.model_validate({"backend": "debug", "path": tmp_path}))


@pytest.mark.parametrize(
    ("written", "expected"), [("512MiB", 512 << 20), ("1.5 GB", 1_500_000_000), (1 << 25, 1 << 25)]
)
def test_the_memory_of_the_index_is_a_size(written: object, expected: int) -> None:
    """It is written with a unit or as bytes."""
    assert MemorySettings.model_validate({"index_memory": written}).index_memory == expected


@pytest.mark.parametrize("written", ["1MiB", "much", "-1GB", 0])
def test_a_memory_that_no_index_fits_into_is_refused(written: object) -> None:
    """What is no size, or less than any index needs, is found before a start."""
    with pytest.raises(ValidationError, match="index_memory"):
        MemorySettings.model_validate({"index_memory": written})
