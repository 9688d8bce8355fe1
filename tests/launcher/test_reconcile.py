"""The difference between what runs and what the file wants."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.configuration.models import Limits, Restart, Service
from launcher.reconcile import LIVE_KEYS, Action, plan, plan_from_settings, settings_of


def service(name: str, **keys: object) -> Service:
    """A command service."""
    return Service.model_validate({"name": name, "command": ("x",), **keys})


def kinds(actions: tuple[Action, ...]) -> list[tuple[str, str]]:
    """(service, kind) of each."""
    return [(action.service, action.kind) for action in actions]


def test_each_kind_of_action_with_its_reason() -> None:
    """Stop what is gone, start what is missing, restart what changed, update what can change live."""
    running = {name: service(name) for name in ("gone", "off", "same", "moved", "tuned")}
    wanted = {
        "new": service("new"),
        "off": service("off", enabled=False),
        "same": service("same"),
        "moved": service("moved", port="8000", env={"A": "1"}),
        "tuned": service("tuned", restart=Restart(policy="never")),
    }
    actions = plan(running, wanted)
    assert kinds(actions) == [
        ("off", "stop"),
        ("gone", "stop"),
        ("new", "start"),
        ("same", "keep"),
        ("moved", "restart"),
        ("tuned", "update"),
    ]
    reasons = {action.service: action.reason for action in actions}
    assert reasons["moved"] == "port, env changed"
    assert "restart changed; no restart is needed" in reasons["tuned"]
    assert reasons["off"] == "is no longer enabled"
    assert reasons["gone"] == "is no longer in the file"


def test_a_service_that_is_off_and_does_not_run_needs_nothing() -> None:
    """No action at all."""
    assert plan({}, {"a": service("a", enabled=False)}) == ()


@pytest.mark.parametrize(
    ("limits", "kind"), [(Limits(memory_bytes=1), "update"), (Limits(open_files=64), "restart")]
)
def test_only_a_new_process_gets_another_file_limit(limits: Limits, kind: str) -> None:
    """Memory is watched by the supervisor; the file limit is set at the spawn."""
    assert kinds(plan({"a": service("a")}, {"a": service("a", limits=limits)})) == [("a", kind)]


@pytest.mark.parametrize(("gpu", "kind"), [("auto", "update"), ("0", "update"), ([0, 1], "restart")])
def test_more_replicas_restart_nobody_unless_gpus_are_dealt_anew(gpu: object, kind: str) -> None:
    """The ones that run keep their ports and processes."""
    one, two = service("a", port="auto", gpu=gpu), service("a", port="auto", gpu=gpu, replicas=2)
    assert kinds(plan({"a": one}, {"a": two})) == [("a", kind)]


def test_settings_tell_no_value() -> None:
    """A digest of a secret is all that the status document shows, and it is short."""
    settings = settings_of(service("a", env={"TOKEN": "hunter2"}))
    assert all(len(digest) == 16 for digest in settings.values())
    assert "hunter2" not in str(settings)


def test_a_light_client_plans_the_same_from_settings() -> None:
    """The supervisor's own plan and that of `plan` cannot differ."""
    running = {"a": service("a", port="1"), "b": service("b")}
    wanted = {"a": service("a", port="2"), "b": service("b")}
    told = {name: settings_of(one) for name, one in running.items()}
    assert plan_from_settings(told, wanted) == plan(running, wanted)


NAMES = st.sampled_from("abcde")
SERVICES = st.dictionaries(
    NAMES, st.tuples(st.integers(1, 3), st.booleans(), st.sampled_from(["always", "never"])), max_size=5
).map(
    lambda found: {
        name: service(name, port=str(port), enabled=enabled, restart={"policy": policy})
        for name, (port, enabled, policy) in found.items()
    }
)


@given(SERVICES, SERVICES)
def test_planning_again_changes_nothing(running: dict[str, Service], wanted: dict[str, Service]) -> None:
    """Once carried out, a plan leaves only `keep`; each service is named once; only live keys update."""
    actions = plan(running, wanted)
    assert len(actions) == len({action.service for action in actions})
    after = {name: one for name, one in wanted.items() if one.enabled}
    stopped = {action.service for action in actions if action.kind == "stop"}
    assert stopped == set(running) - set(after)
    assert {action.kind for action in plan(after, wanted)} <= {"keep"}
    for action in actions:
        if action.kind == "update":
            before, now = settings_of(running[action.service]), settings_of(wanted[action.service])
            assert {key for key in now if now[key] != before[key]} <= LIVE_KEYS | {"replicas"}
