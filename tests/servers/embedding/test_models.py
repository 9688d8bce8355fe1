"""Models are found on this machine first, in a fixed order, without importing or asking anybody."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from servers.embedding.models import Matryoshka, find_model, read_matryoshka, served_names, short_name
from servers.errors import ModelMissing


def write_model(folder: Path, *, config: dict[str, object] | None = None) -> Path:
    """A folder that looks like a model."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config or {}), encoding="utf-8")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def test_the_default_model_comes_with_its_package() -> None:
    """The default is found under its short and its full name, with no cache at all."""
    for name in ("all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"):
        found = find_model(name, {"HF_HOME": "/nonexistent"})
        assert (found.name, found.source) == ("all-MiniLM-L6-v2", "package")
        assert (found.path / "model.safetensors").stat().st_size > 80_000_000


def test_a_folder_is_taken_as_such_and_served_under_its_name(tmp_path: Path) -> None:
    """An absolute path to a model needs no name of a hub."""
    folder = write_model(tmp_path / "my-model")
    found = find_model(str(folder), {})
    assert (found.path, found.name, found.source) == (folder, "my-model", "folder")


def test_the_cache_is_searched_where_the_environment_says(tmp_path: Path) -> None:
    """A snapshot that `main` names wins over others in the same repository."""
    repository = tmp_path / "hub" / "models--org--model"
    write_model(repository / "snapshots" / "aaa")
    wanted = write_model(repository / "snapshots" / "bbb")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("bbb\n", encoding="utf-8")
    found = find_model("org/model", {"HF_HOME": str(tmp_path)})
    assert (found.path, found.name, found.source) == (wanted, "org/model", "cache")
    assert find_model("org/model", {"HF_HUB_CACHE": str(tmp_path / "hub")}).path == wanted


def test_an_unfinished_snapshot_is_passed_over(tmp_path: Path) -> None:
    """A snapshot without weights is not a model."""
    snapshots = tmp_path / "hub" / "models--org--model" / "snapshots"
    (snapshots / "aaa").mkdir(parents=True)
    (snapshots / "aaa" / "config.json").write_text("{}", encoding="utf-8")
    whole = write_model(snapshots / "bbb")
    assert find_model("org/model", {"HF_HOME": str(tmp_path)}).path == whole


@pytest.mark.parametrize(
    ("name", "mend"),
    [("org/unheard-of", "download: true"), ("/nowhere/at/all", "config.json"), ("./nowhere", "config.json")],
)
def test_a_missing_model_says_where_was_looked_and_what_to_do(name: str, mend: str, tmp_path: Path) -> None:
    """The refusal names the model, every place, and a mend that fits the kind of name."""
    with pytest.raises(ModelMissing) as missing:
        find_model(name, {"HF_HOME": str(tmp_path)})
    assert repr(name) in str(missing.value)
    assert missing.value.where is not None
    assert missing.value.where.startswith("looked in ")
    assert mend in str(missing.value.mend)
    assert missing.value.exit_code == 78


def test_looking_for_a_model_imports_no_library() -> None:
    """Checking a configuration must be quick: neither torch nor the hub's client is imported."""
    script = (
        "import sys; from servers.embedding.models import find_model; find_model('all-MiniLM-L6-v2');"
        "print([m for m in ('torch', 'transformers', 'huggingface_hub', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "short", "served"),
    [
        ("sentence-transformers/x", "x", ("x", "sentence-transformers/x")),
        ("x", "x", ("x", "sentence-transformers/x")),
        ("org/x", "org/x", ("org/x",)),
    ],
)
def test_a_model_answers_to_its_short_and_full_name(name: str, short: str, served: tuple[str, ...]) -> None:
    """Clients may use either name of a sentence-transformers model."""
    assert short_name(name) == short
    assert served_names(short) == served


@pytest.mark.parametrize(
    ("config", "card", "expected"),
    [
        ({}, None, Matryoshka(False)),
        ({"is_matryoshka": True}, None, Matryoshka(True)),
        ({"matryoshka_dimensions": [256, 64]}, None, Matryoshka(True, (64, 256))),
        ({}, "---\ntags:\n- loss:MatryoshkaLoss\n---\nText", Matryoshka(True)),
        ({}, "---\ntags:\n- other\n---\nNot trained with loss:MatryoshkaLoss", Matryoshka(False)),
    ],
)
def test_matryoshka_training_is_read_from_the_model_s_files(
    config: dict[str, object], card: str | None, expected: Matryoshka, tmp_path: Path
) -> None:
    """Only a model that says so counts as trained for shorter vectors."""
    folder = write_model(tmp_path / "model", config=config)
    if card is not None:
        (folder / "README.md").write_text(card, encoding="utf-8")
    assert read_matryoshka(folder) == expected
