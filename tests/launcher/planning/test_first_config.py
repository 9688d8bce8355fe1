"""The config that `init` drafts: right for every machine, and true to what was found there."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.configuration.models import AutoPort, FixedPort, NamedGpus, NoGpu, PortRange
from launcher.gpus import GpuReport
from launcher.placement import GpuFacts
from launcher.planning.first_config import Draft, draft_config
from tests.launcher.config_files import load

GIB = 1024**3
BIG = GpuFacts("GPU-aaaa", 0, "NVIDIA H200", 141 * GIB, 139 * GIB)
BUSY = GpuFacts("GPU-bbbb", 1, "NVIDIA H200", 141 * GIB, 3 * GIB)
SPLIT = GpuFacts("GPU-cccc", 2, "NVIDIA A100", 80 * GIB, 80 * GIB, is_split=True)
SLICE = GpuFacts("MIG-dddd", None, "A100 1g.10gb", 10 * GIB, 10 * GIB, parent="GPU-cccc")
NO_DRIVER = GpuReport((), problem="no NVIDIA driver answers")


def draft(*gpus: GpuFacts, held: Mapping[int, str] | None = None, project: str = "stack") -> Draft:
    """The draft for a machine with these GPUs where these ports are held."""
    report = GpuReport(gpus, "580.82") if gpus else NO_DRIVER
    return draft_config(project, report, lambda port: (held or {}).get(port), threads=8)


def test_without_a_gpu_the_cpu_is_chosen_and_said(tmp_path: Path) -> None:
    """Both servers get `gpu: none`, so that no later `up` has to warn, and the finding tells why."""
    made = draft()
    config = load(tmp_path, made.text)
    assert [service.gpu for service in config.services.values()] == [NoGpu(), NoGpu()]
    assert made.findings[0].status == "warn"
    assert "no NVIDIA driver answers" in made.findings[0].detail


def test_one_gpu_is_named_for_both(tmp_path: Path) -> None:
    """With one GPU both servers are pinned to it by its UUID, which must then exist."""
    config = load(tmp_path, draft(BIG).text)
    assert [service.gpu for service in config.services.values()] == [NamedGpus(("GPU-aaaa",))] * 2


def test_two_gpus_are_shared_out_with_the_roomier_for_inference(tmp_path: Path) -> None:
    """Inference gets the GPU with the most free memory, memory the one with the most room after that."""
    config = load(tmp_path, draft(BUSY, BIG).text)
    assert config.services["inference"].gpu == NamedGpus(("GPU-aaaa",))


def test_a_split_gpu_is_used_through_its_parts(tmp_path: Path) -> None:
    """Where MIG is on, the MIG device is named, not the GPU that cannot be used as a whole."""
    config = load(tmp_path, draft(SPLIT, SLICE).text)
    assert config.services["memory"].gpu == NamedGpus(("MIG-dddd",))


def test_free_ports_are_the_ones_that_clients_expect(tmp_path: Path) -> None:
    """5000 and the range from 5005 stand in the file when nobody holds them."""
    config = load(tmp_path, draft().text)
    assert config.services["memory"].port == FixedPort(5000)
    assert config.services["inference"].port == PortRange(5005, 5014)


def test_a_held_memory_port_is_replaced_and_explained(tmp_path: Path) -> None:
    """The next free port is written, with a comment and a warning that name what clients expect."""
    made = draft(held={5000: "pid 7  python old.py", 5001: "pid 8  x"})
    assert load(tmp_path, made.text).services["memory"].port == FixedPort(5002)
    warning = next(
        finding for finding in made.findings if finding.status == "warn" and finding.name == "ports"
    )
    assert warning.detail == "5000 is held by pid 7  python old.py"
    assert warning.choice == "memory on 5002; clients expect 5000"


def test_a_held_first_inference_port_is_a_warning() -> None:
    """The range still begins at 5005, and it is said which port inference would get."""
    made = draft(held={5005: "pid 7  x"})
    assert "inference would get 5006; clients expect 5005" in [finding.choice for finding in made.findings]


@pytest.mark.parametrize("name", ["no", "TRUE", "1e3", "my stack", "a: b", "", "-", "null"])
def test_a_folder_name_that_yaml_would_misread_is_not_used(tmp_path: Path, name: str) -> None:
    """Only a plain word becomes the project's name."""
    assert load(tmp_path, draft(project=name).text).project == "lucid"


@given(
    held=st.dictionaries(st.integers(4999, 5016), st.text(max_size=20), max_size=18),
    gpus=st.lists(st.sampled_from([BIG, BUSY, SPLIT, SLICE]), unique=True),
    project=st.text(max_size=12),
)
def test_every_draft_is_a_right_file(
    tmp_path_factory: pytest.TempPathFactory, held: dict[int, str], gpus: list[GpuFacts], project: str
) -> None:
    """Whatever is found, the file reads without a problem and has two services with ports."""
    config = load(tmp_path_factory.mktemp("draft"), draft(*gpus, held=held, project=project).text)
    assert sorted(config.services) == ["inference", "memory"]
    assert not any(isinstance(service.port, AutoPort | None) for service in config.services.values())
