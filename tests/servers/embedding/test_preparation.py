"""The real thing, once: export, measure, choose, remember; then start without torch."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from servers.embedding.artefacts import make_artefact
from servers.embedding.engine import OnPhase
from servers.embedding.loading import load_engine
from servers.embedding.models import find_model
from servers.embedding.preparing import run_preparation
from servers.embedding.selection import Wanted, artefact_folder, recall, remember
from servers.embedding.variants import REFERENCE, Choice, Variant
from servers.settings import EmbeddingSettings

pytestmark = pytest.mark.model

MODEL = "all-MiniLM-L6-v2"
OPENVINO = Variant("openvino", "float32")
HEAVY = ("torch", "transformers", "sentence_transformers", "openvino_telemetry", "huggingface_hub")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Wanted, Choice, list[str]]:
    """A cache prepared by a real process with `backend: onnx`, what was chosen, and its phases."""
    cache = tmp_path_factory.mktemp("prepared")
    settings = EmbeddingSettings(device="cpu", engine_cache=cache, backend="onnx")
    wanted = Wanted.read(settings, find_model(MODEL), os.environ)
    phases: list[str] = []
    choice = run_preparation(wanted, lambda phase, progress: phases.append(phase))
    return wanted, choice, phases


def start(options: Mapping[str, object], environ: Mapping[str, str] | None = None) -> dict[str, object]:
    """What a fresh process loads for `options`, and which heavy modules it has imported by then."""
    script = (
        "import json, sys\n"
        "from servers.embedding.loading import load_engine\n"
        "from servers.settings import EmbeddingSettings\n"
        "phases = []\n"
        "engine = load_engine(EmbeddingSettings(**json.loads(sys.argv[1])), lambda *p: phases.append(p[0]))\n"
        "vector = engine.forward(engine.tokenize(['hello']))\n"
        f"heavy = [name for name in {HEAVY} if name in sys.modules]\n"
        "print(json.dumps({'backend': engine.info.backend, 'dtype': engine.info.dtype, 'heavy': heavy,"
        " 'phases': phases, 'shape': vector.shape, 'reason': engine.info.reason}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(options)],
        capture_output=True,
        text=True,
        check=True,
        timeout=110,
        env={**os.environ, **(environ or {})},
    )
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_preparing_process_chooses_and_remembers(prepared: tuple[Wanted, Choice, list[str]]) -> None:
    """It goes through its phases, and what it chose is known to the next start."""
    wanted, choice, phases = prepared
    assert list(dict.fromkeys(phases)) == ["import", "load-model", "export", "measure"]
    assert choice.variant == Variant("onnx", "float32")
    assert recall(wanted) == choice
    assert choice.measured[0]["min_cosine"] >= 0.9999


def test_a_prepared_server_starts_without_torch(prepared: tuple[Wanted, Choice, list[str]]) -> None:
    """What serves is the exported graph; none of the libraries that trained it is imported."""
    wanted, _, _ = prepared
    found = start({"device": "cpu", "backend": "onnx", "engine_cache": str(wanted.cache)})
    assert found["heavy"] == []
    assert (found["backend"], found["shape"]) == ("onnx", [1, 384])
    assert found["phases"] == ["import", "load-model"]
    assert "fastest within `accuracy: high`" in str(found["reason"])


def test_openvino_is_imported_without_its_telemetry(exported: Wanted, tmp_path: Path) -> None:
    """Neither the client module nor the file with its identifier appears."""
    wanted = replace(exported, backend="openvino", accuracy="exact")
    remember(wanted, Choice(OPENVINO, "cpu", "a test"))
    options = {
        "device": "cpu",
        "backend": "openvino",
        "accuracy": "exact",
        "engine_cache": str(wanted.cache),
    }
    found = start(options, {"HOME": str(tmp_path)})
    assert found["heavy"] == []
    assert found["backend"] == "openvino"
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_graph_is_made_anew(
    exported: Wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_phase: OnPhase
) -> None:
    """A remembered choice whose artefact does not load is forgotten, and prepared again."""
    settings = EmbeddingSettings(device="cpu", engine_cache=tmp_path, backend="openvino", accuracy="exact")
    wanted = Wanted.read(settings, exported.files, os.environ)
    choice = Choice(OPENVINO, "cpu", "a test")
    remember(wanted, choice)
    make_artefact(artefact_folder(wanted, OPENVINO), {}, lambda folder: None)
    asked: list[Wanted] = []

    def again(wanted: Wanted, report: OnPhase) -> Choice:
        assert recall(wanted) is None
        asked.append(wanted)
        artefact_folder(wanted, OPENVINO).rename(tmp_path / "damaged")
        artefact_folder(wanted, OPENVINO).symlink_to(artefact_folder(exported, OPENVINO))
        return choice

    monkeypatch.setattr("servers.embedding.loading.run_preparation", again)
    engine = load_engine(settings, on_phase)
    assert asked == [wanted]
    assert engine.info.backend == "openvino"
    engine.close()


def test_where_nothing_can_be_prepared_torch_serves(tmp_path: Path, on_phase: OnPhase) -> None:
    """A cache that cannot be written costs the lean engine, never the start."""
    blocked = tmp_path / "a file"
    blocked.write_text("not a folder", "utf-8")
    engine = load_engine(EmbeddingSettings(device="cpu", engine_cache=blocked), on_phase)
    assert (engine.info.backend, engine.info.dtype) == (REFERENCE.backend, REFERENCE.dtype)
    assert "nothing else could be prepared" in str(engine.info.reason)
    engine.close()
