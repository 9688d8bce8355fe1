"""The GPU plan: named GPUs exist and have room, auto takes the emptiest, the CPU never comes quietly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.configuration.models import AutoGpu, Gpu, NamedGpus, NoGpu
from launcher.placement import CPU, GpuFacts, GpuHolder, GpuRequest, PlacementPlan, plan_placement

GIB = 1024**3


def gpu(index: int, free: int = 80, total: int = 80) -> GpuFacts:
    """GPU number `index` with `free` GiB."""
    return GpuFacts(f"GPU-{index}{index}{index}{index}-uuid", index, "H200", total * GIB, free * GIB)


SPLIT = GpuFacts("GPU-9999-uuid", 0, "H200", 80 * GIB, 80 * GIB, is_split=True)
MIGS = [
    GpuFacts(f"MIG-{slot}aaa-uuid", None, "H200 MIG 1g.18gb", 18 * GIB, 18 * GIB, parent=SPLIT.uuid)
    for slot in range(2)
]


def ask(
    child: str, want: Gpu, vram: int | None = None, *, replica: int = 0, replicas: int = 1, note: bool = True
) -> GpuRequest:
    """A request with a budget in GiB."""
    return GpuRequest(child, child, want, None if vram is None else vram * GIB, replica, replicas, note)


def ids(plan: PlacementPlan) -> dict[str, tuple[str, ...]]:
    """GPU identifiers by child."""
    return {child: assignment.ids for child, assignment in plan.assignments.items()}


def test_none_is_the_cpu_without_a_note() -> None:
    """It was asked for; an empty CUDA_VISIBLE_DEVICES hides every GPU."""
    plan = plan_placement([ask("a", NoGpu())], [gpu(0)])
    assert plan.assignments["a"] == CPU
    assert CPU.cuda_visible_devices == ""


def test_auto_without_a_gpu_is_the_cpu_said_loudly() -> None:
    """The note names the child, the slowness and the reason."""
    plan = plan_placement([ask("a", AutoGpu())], [], problem="no NVIDIA driver answers")
    note = plan.assignments["a"].note
    assert plan.assignments["a"].device == "cpu"
    assert note is not None
    assert "a runs on the CPU" in note
    assert "no NVIDIA driver answers" in note


def test_a_program_that_never_asked_is_not_noted() -> None:
    """A web server without a GPU is nothing to shout about."""
    assert plan_placement([ask("a", AutoGpu(), note=False)], []).assignments["a"].note is None


def test_auto_takes_the_gpu_with_the_most_room_and_spreads() -> None:
    """Each child makes its GPU less attractive to the next."""
    plan = plan_placement([ask(child, AutoGpu()) for child in "abc"], [gpu(0, 40), gpu(1, 41), gpu(2, 40)])
    assert sorted(assigned[0] for assigned in ids(plan).values()) == sorted(gpu(n).uuid for n in range(3))
    assert plan.assignments["a"].cuda_visible_devices == gpu(1).uuid
    assert plan.assignments["a"].device == "cuda:0"


def test_auto_with_a_budget_that_fits_nowhere_is_the_cpu() -> None:
    """With the budget and the most that there is."""
    note = plan_placement([ask("a", AutoGpu(), 50)], [gpu(0, 10), gpu(1, 20)]).assignments["a"].note
    assert note is not None
    assert "53.7 GB to spare" in note
    assert gpu(1).uuid in note


def test_named_gpus_go_first() -> None:
    """`auto` does not take what the file promised to another."""
    plan = plan_placement([ask("a", AutoGpu(), 60), ask("b", NamedGpus((0,)), 60)], [gpu(0), gpu(1)])
    assert ids(plan) == {"a": (gpu(1).uuid,), "b": (gpu(0).uuid,)}
    assert list(plan.assignments) == ["a", "b"]


@pytest.mark.parametrize("name", [1, "GPU-1111-uuid", "GPU-1111"])
def test_a_gpu_has_an_index_an_identifier_and_its_beginning(name: str | int) -> None:
    """All three mean the same, and the child always gets the full identifier."""
    plan = plan_placement([ask("a", NamedGpus((name,)))], [gpu(0), gpu(1)])
    assert plan.assignments["a"].cuda_visible_devices == gpu(1).uuid


def test_an_ambiguous_beginning_is_refused() -> None:
    """Guessing a GPU is worse than asking."""
    (conflict,) = plan_placement([ask("a", NamedGpus(("GPU-",)))], [gpu(0), gpu(1)]).conflicts
    assert "fits 2 GPUs" in conflict.reason


def test_a_missing_gpu_names_those_there_are() -> None:
    """Wanted and found, with their free memory."""
    (conflict,) = plan_placement([ask("a", NamedGpus((3,)))], [gpu(0, 12)]).conflicts
    assert conflict.kind == "missing"
    assert "there is no GPU 3" in conflict.reason
    assert gpu(0).uuid in conflict.hint
    assert "12.9 GB free" in conflict.hint


def test_a_missing_driver_is_the_reason() -> None:
    """Not "no GPU 0" alone."""
    plan = plan_placement([ask("a", NamedGpus((0,)))], [], problem="no NVIDIA driver answers")
    assert "no NVIDIA driver answers" in plan.conflicts[0].reason


def test_over_commit_is_found_across_services() -> None:
    """Two budgets that fit alone do not fit together; the message names who has the rest."""
    plan = plan_placement([ask("a", NamedGpus((0,)), 50), ask("b", NamedGpus((0,)), 50)], [gpu(0)])
    (conflict,) = plan.conflicts
    assert (conflict.kind, conflict.request.child) == ("short", "b")
    assert "promised to a" in conflict.reason
    assert "b" not in plan.assignments


def test_a_full_gpu_names_its_holders() -> None:
    """Whom to ask for the memory."""
    held = GpuFacts("GPU-0-uuid", 0, "H200", 80 * GIB, GIB, (GpuHolder(77, 40 * GIB), GpuHolder(78, None)))
    (conflict,) = plan_placement([ask("a", NamedGpus((0,)), 10)], [held]).conflicts
    assert "pid 77 holds 42.9 GB" in conflict.hint
    assert "pid 78 holds an unknown amount" in conflict.hint


def test_a_split_gpu_is_used_through_its_mig_devices_only() -> None:
    """auto takes a MIG device; the index of the whole is refused with that mend."""
    plan = plan_placement([ask("a", AutoGpu()), ask("b", NamedGpus((MIGS[0].uuid,)))], [SPLIT, *MIGS])
    assert ids(plan) == {"a": (MIGS[1].uuid,), "b": (MIGS[0].uuid,)}
    (conflict,) = plan_placement([ask("a", NamedGpus((0,)))], [SPLIT, *MIGS]).conflicts
    assert "split into MIG devices" in conflict.reason
    assert MIGS[0].uuid in conflict.hint


@pytest.mark.parametrize(
    ("names", "replicas", "dealt"),
    [((0, 1), 1, [(0, 1)]), ((0, 1, 2, 3), 2, [(0, 1), (2, 3)]), ((0, 1), 4, [(0,), (1,), (0,), (1,)])],
)
def test_a_list_is_dealt_to_replicas(
    names: tuple[int, ...], replicas: int, dealt: list[tuple[int, ...]]
) -> None:
    """All to one; evenly to several; in turn when replicas are more."""
    requests = [ask(f"a.{n}", NamedGpus(names), replica=n, replicas=replicas) for n in range(replicas)]
    plan = plan_placement(requests, [gpu(n) for n in range(4)])
    assert list(ids(plan).values()) == [tuple(gpu(n).uuid for n in share) for share in dealt]


@pytest.mark.parametrize(
    ("visible", "wanted"), [(["1"], 1), ([gpu(1).uuid], 1), (["GPU-1111"], 1), (["0", "1"], 0)]
)
def test_the_launchers_own_visible_gpus_limit_auto(visible: list[str], wanted: int) -> None:
    """A scheduler that gave us one GPU means it."""
    plan = plan_placement([ask("a", AutoGpu())], [gpu(0), gpu(1, 79)], visible=visible)
    assert plan.assignments["a"].ids == (gpu(wanted).uuid,)


def test_no_visible_gpu_is_the_cpu_with_that_reason() -> None:
    """An empty CUDA_VISIBLE_DEVICES hides them all from auto; a named one is still given."""
    plan = plan_placement([ask("a", AutoGpu()), ask("b", NamedGpus((0,)))], [gpu(0)], visible=[])
    assert "CUDA_VISIBLE_DEVICES" in (plan.assignments["a"].note or "")
    assert plan.assignments["b"].ids == (gpu(0).uuid,)


WANTS = st.just(AutoGpu()) | st.just(NoGpu()) | st.integers(0, 4).map(lambda n: NamedGpus((n,)))


@given(
    st.lists(st.tuples(WANTS, st.none() | st.integers(1, 60)), max_size=8),
    st.lists(st.integers(0, 80), max_size=4),
)
def test_no_plan_promises_more_than_there_is(wants: list[tuple[Gpu, int | None]], free: list[int]) -> None:
    """Budgets on a GPU never exceed its free memory; each request is settled; a named GPU is that GPU."""
    gpus = [gpu(index, room) for index, room in enumerate(free)]
    requests = [ask(f"c{place}", want, vram) for place, (want, vram) in enumerate(wants)]
    plan = plan_placement(requests, gpus)
    refused = {conflict.request.child for conflict in plan.conflicts}
    assert refused | set(plan.assignments) == {request.child for request in requests}
    assert not refused & set(plan.assignments)
    for facts in gpus:
        there = [r for r in requests if facts.uuid in plan.assignments.get(r.child, CPU).ids]
        assert sum(r.vram_bytes or 0 for r in there) <= facts.free_bytes
    for request in requests:
        if isinstance(request.gpu, NamedGpus) and request.child in plan.assignments:
            assert plan.assignments[request.child].ids == (gpus[int(request.gpu.names[0])].uuid,)
