"""What a server asks for, and what it remembers of the answer."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from servers.embedding import selection
from servers.embedding.models import find_model
from servers.embedding.selection import Wanted, artefact_folder, forget, prune, recall, remember
from servers.embedding.variants import REFERENCE, Choice, Variant
from servers.settings import EmbeddingSettings

BFLOAT16 = Variant("openvino", "bfloat16")
CHOICE = Choice(BFLOAT16, "cpu", "it is the fastest")


@pytest.fixture
def wanted(tmp_path: Path) -> Wanted:
    """The default model by default options, on a CPU, with a cache of its own."""
    settings = EmbeddingSettings(device="cpu", engine_cache=tmp_path)
    return Wanted.read(settings, find_model(settings.model), {})


def test_a_choice_is_remembered_for_the_same_question_only(wanted: Wanted) -> None:
    """Another accuracy class or backend is another question, and so is another machine."""
    remember(wanted, CHOICE)
    assert recall(wanted) == CHOICE
    assert recall(replace(wanted, accuracy="exact")) is None
    assert recall(replace(wanted, backend="onnx")) is None
    assert recall(replace(wanted, threads=wanted.threads + 1)) == CHOICE


def test_another_version_of_a_library_asks_again(wanted: Wanted, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was fastest and accurate with one version is not known of the next."""
    remember(wanted, CHOICE)
    monkeypatch.setattr(selection, "describe_machine", lambda: {"versions": {"openvino": "9999"}})
    assert recall(wanted) is None


def test_a_choice_can_be_forgotten(wanted: Wanted) -> None:
    """Forgetting what was never known is fine."""
    remember(wanted, CHOICE)
    forget(wanted)
    forget(wanted)
    assert recall(wanted) is None


@pytest.mark.parametrize("content", ["", "[]", '{"key": {}}', '{"key": 1, "choice": 2}'])
def test_an_unreadable_note_is_no_note(wanted: Wanted, content: str) -> None:
    """Whatever stands in the file, the worst is that it is measured again."""
    remember(wanted, CHOICE)
    (note,) = wanted.folder.glob("choice-*.json")
    note.write_text(content, "utf-8")
    assert recall(wanted) is None


def test_only_what_a_remembered_choice_needs_is_kept(wanted: Wanted) -> None:
    """The graphs of the losers and of older versions are removed, other choices' graphs are not."""
    remember(wanted, CHOICE)
    other = Variant("onnx", "int8")
    remember(replace(wanted, accuracy="fast"), replace(CHOICE, variant=other))
    kept = {artefact_folder(wanted, BFLOAT16), artefact_folder(wanted, other)}
    dropped = {
        artefact_folder(wanted, Variant("onnx", "float32")),
        wanted.folder / "openvino-float32-2001.1-1",
    }
    for folder in kept | dropped:
        folder.mkdir(parents=True)
    prune(wanted)
    assert {path for path in wanted.folder.iterdir() if path.is_dir()} == kept


def test_float32_and_bfloat16_share_a_graph_and_int8_has_its_own(wanted: Wanted) -> None:
    """OpenVINO computes the same file in either precision."""
    float32, int8 = Variant("openvino", "float32"), Variant("openvino", "int8")
    assert artefact_folder(wanted, float32) == artefact_folder(wanted, BFLOAT16)
    assert artefact_folder(wanted, int8) != artefact_folder(wanted, float32)


def test_a_request_survives_the_way_to_the_preparing_process(wanted: Wanted) -> None:
    """One line of JSON holds all of it."""
    line = wanted.to_json()
    assert "\n" not in line
    assert Wanted.from_json(line) == replace(wanted, model=wanted.model.absolute())
    assert json.loads(line)["cache"] == str(wanted.cache)


@pytest.mark.parametrize(
    ("options", "gpus", "device"),
    [
        ({}, True, "auto"),
        ({}, False, "cpu"),
        ({"backend": "openvino"}, True, "cpu"),
        ({"device": "cuda:1"}, False, "cuda:1"),
        ({"device": "cpu"}, True, "cpu"),
    ],
)
def test_auto_means_the_cpu_where_there_is_no_gpu(
    options: dict[str, str], gpus: bool, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU that may be there is only found out by torch; an explicit device is left as it is."""
    monkeypatch.setattr(selection, "may_have_cuda", lambda environ: gpus)
    settings = EmbeddingSettings.model_validate({"engine_cache": tmp_path, **options})
    assert Wanted.read(settings, find_model(settings.model), {}).device == device


def test_torch_alone_needs_no_preparation(wanted: Wanted) -> None:
    """With `backend: torch` on a CPU there is nothing to export and nothing to choose."""
    plain = replace(wanted, backend="torch")
    assert plain.candidates() == (REFERENCE,)
    assert plain.is_plain()
    assert not replace(wanted, backend="openvino", accuracy="exact").is_plain()
