"""The port plan: pure, complete, and never two children on one port."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.configuration.models import AutoPort, FixedPort, Port, PortRange
from launcher.ports import Holder, PortPlan, PortRequest, Taken, fits, plan_ports

HOLDER = Holder(7, "python old.py", "ana")


class Machine:
    """Says which ports are taken, hands out 40000 and up for auto, and remembers every claim."""

    def __init__(self, taken: Sequence[int] = ()) -> None:
        self.taken = set(taken)
        self.claims: list[int] = []

    def __call__(self, host: str, port: int) -> int | Taken:
        self.claims.append(port)
        if port == 0:
            port = next(number for number in range(40000, 65536) if number not in self.taken)
        if port in self.taken:
            return Taken(port, HOLDER)
        self.taken.add(port)
        return port


def ask(child: str, port: Port, replica: int = 0, replicas: int = 1, held: int | None = None) -> PortRequest:
    """A request of `child`."""
    return PortRequest(child, child.split(".")[0], "localhost", port, replica, replicas, held)


def given_ports(plan: PortPlan) -> dict[str, int]:
    """Port by child."""
    return {assignment.child: assignment.port for assignment in plan.assignments}


def test_the_default_stack() -> None:
    """5000 and 5005, no fallback."""
    plan = plan_ports([ask("memory", FixedPort(5000)), ask("inference", PortRange(5005, 5014))], Machine())
    assert given_ports(plan) == {"memory": 5000, "inference": 5005}
    assert not any(assignment.is_fallback for assignment in plan.assignments)
    assert plan.conflicts == ()


def test_a_range_falls_back_and_says_past_whom() -> None:
    """The next free port, marked as a fallback, with the holders of those before."""
    (assignment,) = plan_ports([ask("i", PortRange(5005, 5014))], Machine([5005, 5006])).assignments
    assert (assignment.port, assignment.is_fallback) == (5007, True)
    assert assignment.passed_over == (Taken(5005, HOLDER), Taken(5006, HOLDER))


def test_strict_refuses_a_fallback() -> None:
    """Only the first port is tried, and named."""
    machine = Machine([5005])
    plan = plan_ports([ask("i", PortRange(5005, 5014))], machine, strict=True)
    assert plan.assignments == ()
    assert [taken.port for taken in plan.conflicts[0].taken] == [5005]
    assert machine.claims == [5005]


def test_strict_gives_each_replica_its_own_port() -> None:
    """The n-th replica means the n-th port."""
    requests = [ask(f"i.{n}", PortRange(5005, 5014), n, 3) for n in range(3)]
    plan = plan_ports(requests, Machine(), strict=True)
    assert given_ports(plan) == {"i.0": 5005, "i.1": 5006, "i.2": 5007}


def test_replicas_side_by_side_are_no_fallback() -> None:
    """Two replicas on the first two ports are where one expects them."""
    requests = [ask(f"i.{n}", PortRange(5005, 5014), n, 2) for n in range(2)]
    assert not any(a.is_fallback for a in plan_ports(requests, Machine()).assignments)
    assert [a.is_fallback for a in plan_ports(requests, Machine([5005])).assignments] == [False, True]


def test_a_range_never_takes_what_another_must_have() -> None:
    """Fixed ports are claimed first, whatever the order of the file."""
    plan = plan_ports([ask("i", PortRange(5005, 5014)), ask("m", FixedPort(5005))], Machine())
    assert given_ports(plan) == {"m": 5005, "i": 5006}
    assert [a.child for a in plan.assignments] == ["i", "m"]


def test_all_conflicts_are_found() -> None:
    """Two fixed ports and a whole range, each with every holder."""
    requests = [
        ask("a", FixedPort(1)),
        ask("b", PortRange(10, 12)),
        ask("c", FixedPort(2)),
        ask("d", AutoPort()),
    ]
    plan = plan_ports(requests, Machine([1, 2, 10, 11, 12]))
    assert [(c.request.child, len(c.taken)) for c in plan.conflicts] == [("a", 1), ("b", 3), ("c", 1)]
    assert given_ports(plan) == {"d": 40000}


@pytest.mark.parametrize(
    ("port", "held", "keeps"),
    [
        (FixedPort(5), 5, True),
        (FixedPort(5), 6, False),
        (PortRange(5, 9), 7, True),
        (PortRange(5, 9), 10, False),
        (AutoPort(), 7, True),
    ],
)
def test_a_port_that_is_held_is_kept_while_it_fits(port: Port, held: int, keeps: bool) -> None:
    """A reload moves nobody without need, not even off a fallback."""
    machine = Machine([held])
    (assignment,) = plan_ports([ask("a", port, held=held)], machine).assignments
    assert assignment.is_held is keeps
    assert (assignment.port == held) is keeps
    assert (machine.claims == []) is keeps


def test_a_kept_port_is_not_given_to_another() -> None:
    """A new replica goes around what its sibling holds."""
    requests = [ask("i.0", PortRange(5, 9), 0, 2), ask("i.1", PortRange(5, 9), 1, 2, held=5)]
    plan = plan_ports(requests, Machine([5]))
    assert given_ports(plan) == {"i.0": 6, "i.1": 5}
    assert plan.assignments[0].passed_over == ()


PORTS = st.integers(1, 12).map(FixedPort) | st.tuples(st.integers(1, 12), st.integers(0, 4)).map(
    lambda pair: PortRange(pair[0], pair[0] + pair[1])
)


@given(st.lists(PORTS | st.just(AutoPort()), max_size=8), st.sets(st.integers(1, 16)), st.booleans())
def test_every_plan_holds_what_it_promises(ports: list[Port], taken: set[int], strict: bool) -> None:
    """No port twice, none that was taken, each within its request; every request is settled exactly once."""
    requests = [ask(f"c{place}", port) for place, port in enumerate(ports)]
    plan = plan_ports(requests, Machine(sorted(taken)), strict=strict)
    got = [assignment.port for assignment in plan.assignments]
    assert len(got) == len(set(got))
    assert not set(got) & taken
    settled = [a.child for a in plan.assignments] + [c.request.child for c in plan.conflicts]
    assert sorted(settled) == sorted(request.child for request in requests)
    wanted = {request.child: request.port for request in requests}
    for child, number in given_ports(plan).items():
        port = wanted[child]
        if isinstance(port, FixedPort):
            assert number == port.number
        elif isinstance(port, PortRange):
            assert port.first <= number <= (port.first if strict else port.last)


def test_replicas_that_held_one_port_together_part() -> None:
    """The first keeps it, the others find one each."""
    requests = [ask(f"i.{n}", PortRange(5, 9), n, 3, held=5) for n in range(3)]
    plan = plan_ports(requests, Machine([5]))
    assert given_ports(plan) == {"i.0": 5, "i.1": 6, "i.2": 7}
    assert [assignment.is_held for assignment in plan.assignments] == [True, False, False]


@given(PORTS | st.just(AutoPort()), st.integers(1, 20))
def test_what_fits_is_kept_and_nothing_else(port: Port, number: int) -> None:
    """`fits` says what a plan does with a port that is held."""
    (assignment,) = plan_ports([ask("a", port, held=number)], Machine([])).assignments
    assert assignment.is_held is fits(port, number)
