"""Loading picks the engine that the settings ask for, and asks nobody else unless allowed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from servers.embedding import loading
from servers.embedding.debug_engine import DebugEngine
from servers.embedding.models import ModelFiles
from servers.embedding.surroundings import LIBRARY_ENVIRONMENT
from servers.errors import ModelMissing
from servers.settings import EmbeddingSettings


@pytest.fixture
def phases() -> list[tuple[str, float | None]]:
    """The phases that loading reports, in order."""
    return []


def test_the_debug_backend_needs_no_model(phases: list[tuple[str, float | None]]) -> None:
    """It serves under the configured model's short name and is ready at once."""
    settings = EmbeddingSettings(backend="debug", model="sentence-transformers/any")
    engine = loading.load_engine(settings, lambda phase, progress: phases.append((phase, progress)))
    assert isinstance(engine, DebugEngine)
    assert engine.info.name == "any"
    assert phases == []


def test_a_missing_model_is_not_downloaded_unless_allowed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, phases: list[tuple[str, float | None]]
) -> None:
    """Without `download: true`, the hub is never asked."""
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr(loading, "download", lambda *_: pytest.fail("the hub was asked"))
    with pytest.raises(ModelMissing):
        loading.load_engine(EmbeddingSettings(model="org/missing"), lambda *phase: phases.append(phase))
    assert phases == []


def test_an_allowed_download_is_a_phase_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, phases: list[tuple[str, float | None]]
) -> None:
    """With `download: true` a missing model is fetched, and what came is handed to the loader."""
    asked: list[str] = []

    def fetch(name: str, on_share: Callable[[float], None]) -> ModelFiles:
        asked.append(name)
        on_share(0.5)
        raise ModelMissing("the hub is not there either")

    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr(loading, "download", fetch)
    settings = EmbeddingSettings(model="org/missing", download=True)
    with pytest.raises(ModelMissing, match="not there either"):
        loading.load_engine(settings, lambda *phase: phases.append(phase))
    assert asked == ["org/missing"]
    assert phases == [("download", None), ("download", 0.5)]


def test_the_libraries_are_kept_off_the_network_and_off_each_other_s_cores() -> None:
    """What the libraries read from the environment is fixed in one place."""
    assert LIBRARY_ENVIRONMENT["HF_HUB_OFFLINE"] == "1"
    assert LIBRARY_ENVIRONMENT["OMP_WAIT_POLICY"] == "PASSIVE"
