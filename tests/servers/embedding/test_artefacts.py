"""An artefact is whole or absent, and belongs to exactly the model it was made from."""

import os
import threading
from pathlib import Path

import pytest

from servers.embedding.artefacts import (
    ArtefactUnusable,
    cache_folder,
    exclusive,
    make_artefact,
    model_folder,
    read_artefact,
    write_json,
)
from servers.embedding.models import ModelFiles

PATIENCE_S = 20.0


def write(folder: Path) -> None:
    """Fill an artefact with one file."""
    (folder / "model.bin").write_bytes(b"weights")


@pytest.fixture
def files(tmp_path: Path) -> ModelFiles:
    """A model of two files."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}", "utf-8")
    (folder / "model.safetensors").write_bytes(b"1234")
    return ModelFiles(folder, "org/a model", "folder")


def test_what_was_made_is_read_again(tmp_path: Path) -> None:
    """The card comes back as it was given, and nothing but the artefact is left in the folder."""
    made = make_artefact(tmp_path / "graphs" / "one", {"dimensions": 3}, write)
    assert read_artefact(tmp_path / "graphs" / "one") == made
    assert made.card == {"dimensions": 3}
    assert [path.name for path in (tmp_path / "graphs").iterdir()] == ["one"]


def test_a_failure_half_way_leaves_nothing_and_keeps_what_was_there(tmp_path: Path) -> None:
    """An artefact that cannot be finished never takes the place of a good one."""

    def break_off(folder: Path) -> None:
        write(folder)
        raise ValueError("the converter broke off")

    good = make_artefact(tmp_path / "one", {}, write)
    with pytest.raises(ValueError, match="broke off"):
        make_artefact(tmp_path / "one", {}, break_off)
    assert read_artefact(tmp_path / "one") == good
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "model.bin").write_bytes(b"wei"),
        lambda folder: (folder / "model.bin").unlink(),
        lambda folder: (folder / "manifest.json").unlink(),
        lambda folder: (folder / "manifest.json").write_text("[]", "utf-8"),
        lambda folder: (folder / "manifest.json").write_text('{"bytes": {}', "utf-8"),
    ],
)
def test_a_damaged_artefact_is_not_believed(damage: object, tmp_path: Path) -> None:
    """A file that is cut, gone, or a manifest that is not one: all mean that it is made anew."""
    folder = make_artefact(tmp_path / "one", {}, write).folder
    damage(folder)  # type: ignore[operator]  # a parameter has no better type here
    with pytest.raises(ArtefactUnusable):
        read_artefact(folder)


def test_other_content_is_another_model_and_another_time_is_not(files: ModelFiles, tmp_path: Path) -> None:
    """The folder depends on what the files hold, not on when they were written or where they lie."""
    cache = tmp_path / "cache"
    before = model_folder(cache, files)
    assert before.name.startswith("org-a-model-")
    weights = files.path / "model.safetensors"
    os.utime(weights, (1, 1))
    assert model_folder(cache, files) == before
    weights.write_bytes(b"4321")
    assert model_folder(cache, files) != before


def test_a_known_content_is_not_hashed_again(files: ModelFiles, tmp_path: Path) -> None:
    """While size and time stay the same, the noted hash is used, so that a start costs no reading."""
    cache = tmp_path / "cache"
    before = model_folder(cache, files)
    weights = files.path / "model.safetensors"
    stat = weights.stat()
    weights.write_bytes(b"4321")
    os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert model_folder(cache, files) == before


def test_exports_beside_the_model_are_not_part_of_it(files: ModelFiles, tmp_path: Path) -> None:
    """Graphs that a model's publisher ships along do not change what it is."""
    before = model_folder(tmp_path / "cache", files)
    (files.path / "onnx").mkdir()
    (files.path / "onnx" / "quantize_config.json").write_text("{}", "utf-8")
    assert model_folder(tmp_path / "cache", files) == before


@pytest.mark.parametrize(
    ("option", "environ", "expected"),
    [
        (Path("/elsewhere"), {}, "/elsewhere"),
        (None, {"XDG_CACHE_HOME": "/caches"}, "/caches/lucid-launch/engines"),
        (None, {}, str(Path("~/.cache/lucid-launch/engines").expanduser())),
    ],
)
def test_the_cache_lies_where_caches_do(option: Path | None, environ: dict[str, str], expected: str) -> None:
    """The option wins, then the user's cache folder."""
    assert str(cache_folder(option, environ)) == expected


def test_only_one_makes_artefacts_at_a_time(tmp_path: Path) -> None:
    """The second is told that it waits, and comes in when the first has left."""
    waiting, order = threading.Event(), []

    def second() -> None:
        with exclusive(tmp_path, waiting.set):
            order.append("second")

    thread = threading.Thread(target=second)
    with exclusive(tmp_path, lambda: pytest.fail("nobody else was there")):
        thread.start()
        assert waiting.wait(PATIENCE_S)
        order.append("first")
    thread.join(PATIENCE_S)
    assert order == ["first", "second"]


def test_a_json_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    """The new content stands under the old name, and no scraps stay behind."""
    write_json(tmp_path / "deep" / "note.json", {"a": 1})
    write_json(tmp_path / "deep" / "note.json", {"a": 2})
    assert (tmp_path / "deep" / "note.json").read_text("utf-8") == '{\n  "a": 2\n}'
    assert len(list((tmp_path / "deep").iterdir())) == 1
