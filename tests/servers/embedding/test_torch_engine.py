"""The torch engine agrees with the library it stands for, offline."""

import random
import socket
from types import SimpleNamespace

import numpy as np
import pytest

from servers.embedding.embedded import Embedded
from servers.embedding.engine import OnPhase
from servers.embedding.models import find_model
from servers.embedding.worker import EmbeddingWorker
from servers.errors import BadSettings, ModelMissing
from servers.settings import EmbeddingSettings

pytestmark = pytest.mark.model

MODEL = "all-MiniLM-L6-v2"
WORDS = """
    harbour storm quiet memory server vector 港 сервер naïve 😀 3.14 don't e-mail pneumonoultramicroscopic
    the of and to a \u00e9 e\u0301 <b> {} https://example.org/x?y=1 CamelCase snake_case 1,000,000 …
"""


def varied_texts(count: int) -> list[str]:
    """`count` texts of several scripts, always the same ones; most are short, one in forty is cut."""
    chance = random.Random(20240)
    lengths = [400 if place % 40 == 7 else int(chance.expovariate(1 / 4)) + 1 for place in range(count)]
    separators = (" ", " ", " ", "\n", "  ", ", ", "")
    return [
        chance.choice(separators).join(chance.choices(WORDS.split(), k=length)) + f" #{place}"
        for place, length in enumerate(lengths)
    ]


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every attempt to look a name up or to connect over IP fails and is noted."""
    attempts: list[object] = []

    def refuse(*arguments: object, **_: object) -> None:
        attempts.append(arguments)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    return attempts


async def worker_vectors(texts: list[str], on_phase: OnPhase) -> Embedded:
    """The vectors of `texts` through the whole worker, mixed into batches as they come."""
    from prometheus_client import CollectorRegistry

    worker = EmbeddingWorker(EmbeddingSettings(device="cpu", backend="torch"), CollectorRegistry())
    await worker.start(on_phase)
    try:
        return await worker.embed(texts)
    finally:
        await worker.close()


@pytest.mark.timeout(400)  # two models embed 1,000 texts each, on whatever cores are free
async def test_vectors_agree_with_sentence_transformers(on_phase: OnPhase) -> None:
    """On 1,000 varied texts every vector's cosine to the library's own is at least 0.99999."""
    from sentence_transformers import SentenceTransformer

    texts = varied_texts(1000)
    embedded = await worker_vectors(texts, on_phase)
    reference = SentenceTransformer(str(find_model(MODEL).path), device="cpu", local_files_only=True)
    expected = reference.encode(texts, normalize_embeddings=True, show_progress_bar=False)
    cosines = (embedded.vectors * expected).sum(axis=1)
    assert cosines.min() >= 0.99999
    np.testing.assert_allclose(embedded.vectors, expected, atol=1e-5)
    assert max(embedded.tokens) == 256
    assert [count == 256 for count in embedded.tokens].count(True) >= sum(embedded.truncated) > 0


async def test_loading_and_embedding_touch_no_network(no_network: list[object], on_phase: OnPhase) -> None:
    """The packaged model is found, loaded and run without a single look-up or connection."""
    embedded = await worker_vectors(["offline"], on_phase)
    assert embedded.vectors.shape == (1, 384)
    assert no_network == []


def test_a_device_that_is_not_there_is_refused_with_the_mend() -> None:
    """An explicit GPU must exist; the refusal names the option."""
    from servers.embedding.torch_engine import load_torch_engine

    with pytest.raises(BadSettings, match="cuda:99") as refused:
        load_torch_engine(find_model(MODEL), "cuda:99", None)
    assert refused.value.where == "options.device"


@pytest.mark.parametrize(("budget", "fraction"), [(20, 0.25), (200, 1.0)])
def test_the_budget_is_a_share_of_the_gpu(
    monkeypatch: pytest.MonkeyPatch, budget: int, fraction: float
) -> None:
    """torch takes fractions of a device: the budget over its memory, never more than all of it."""
    import torch

    from servers.embedding.torch_engine import cap_memory

    asked: list[tuple[float, torch.device]] = []
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda place: SimpleNamespace(total_memory=80 * 1024**3)
    )
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda share, place: asked.append((share, place))
    )
    cap_memory(torch.device("cuda:0"), budget * 1024**3)
    assert asked == [(fraction, torch.device("cuda:0"))]


def test_a_damaged_model_is_refused_with_its_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Files that do not load are a start-up error that names the folder, not a traceback."""
    from servers.embedding.torch_engine import load_torch_engine

    folder = tmp_path_factory.mktemp("damaged")
    (folder / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    (folder / "model.safetensors").write_bytes(b"not a model")
    with pytest.raises(ModelMissing) as refused:
        load_torch_engine(find_model(str(folder)), "cpu", None)
    assert refused.value.where == str(folder)
