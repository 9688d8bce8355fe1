"""Errors: stable codes and exit codes, sentences for people, and the trip over a socket."""

import json

import pytest

from launcher import errors
from launcher.errors import (
    ConfigInvalid,
    ConfigProblem,
    EnvironmentUnmet,
    GpuMissing,
    Holder,
    LauncherError,
    NoSuchService,
    PortConflict,
    PortInUse,
    from_document,
    printable,
)

HOLDER = Holder(28110, "python tensor.py", "ana", "2026-11-23T14:02:20+01:00", "/home/ana/old")
SAMPLES: list[tuple[LauncherError, str, int]] = [
    (errors.ConfigMissing("/x/config.yaml"), "E_CONFIG_MISSING", 2),
    (errors.ConfigExists("/x/config.yaml"), "E_CONFIG_EXISTS", 5),
    (ConfigInvalid([ConfigProblem(1, 2, "config.yaml", "a", "is wrong")]), "E_CONFIG", 2),
    (PortInUse([PortConflict("memory", "localhost:5000", holders=((5000, HOLDER),))]), "E_PORT_IN_USE", 5),
    (errors.AlreadyOwned("lucid", 7), "E_RUNNING", 5),
    (EnvironmentUnmet([GpuMissing("a", "there is no GPU 3")]), "E_ENVIRONMENT", 6),
    (GpuMissing("a", "there is no GPU 3", hint="there are: GPU 0"), "E_GPU_MISSING", 6),
    (errors.VramShort("a", "needs 2 GB"), "E_VRAM_SHORT", 6),
    (errors.ModelNotFound("a", "not here"), "E_MODEL_NOT_FOUND", 6),
    (errors.CommandNotFound("a", "not on PATH"), "E_COMMAND_NOT_FOUND", 6),
    (errors.NotRunning("config.yaml"), "E_NOT_RUNNING", 3),
    (NoSuchService("memroy", ["memory", "inference"]), "E_NO_SUCH_SERVICE", 4),
    (errors.TimedOut("not ready within 5 s"), "E_TIMEOUT", 124),
    (errors.ActionFailed("no", hint="try"), "E_ACTION_FAILED", 1),
    (errors.SupervisorFailed("gone"), "E_SUPERVISOR", 1),
]


@pytest.mark.parametrize(("error", "code", "exit_code"), SAMPLES, ids=[code for _, code, _ in SAMPLES])
def test_codes_are_those_of_the_contract(error: LauncherError, code: str, exit_code: int) -> None:
    """Scripts rely on them."""
    assert (error.code, error.exit_code) == (code, exit_code)
    assert str(error)


@pytest.mark.parametrize("error", [error for error, _, _ in SAMPLES], ids=[code for _, code, _ in SAMPLES])
def test_an_error_survives_the_trip_over_a_socket(error: LauncherError) -> None:
    """Code, exit code, sentence, hint, details and rendering are the same on the other side."""
    there = from_document(json.loads(json.dumps(error.to_document())))
    assert (there.code, there.exit_code, str(there), there.hint) == (
        error.code,
        error.exit_code,
        str(error),
        error.hint,
    )
    assert there.render() == error.render()
    assert there.to_document() == json.loads(json.dumps(error.to_document()))


def test_a_document_of_another_version_is_still_an_error() -> None:
    """Missing fields are filled, not crashed over."""
    there = from_document({})
    assert there.exit_code == 1
    assert there.code == "E_FAILED"
    assert str(there)


def test_every_error_class_has_its_own_code() -> None:
    """Two classes that share a code could not be told apart; the two for several lacks at once may."""
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LauncherError)
    ]
    own = [
        kind.code for kind in kinds if not kind.__name__.startswith("_") and kind.__name__ != "RelayedError"
    ]
    assert len(own) == len(set(own))


def test_the_port_message_names_everything() -> None:
    """Who, where in the file, pid, command, user, start, folder and the mend, in this order."""
    conflict = PortConflict(
        "memory",
        "localhost:5000",
        where="config.yaml:7:11",
        source="    port: 5000",
        holders=((5000, HOLDER),),
        hint="stop it with  kill 28110",
    )
    assert PortInUse([conflict, conflict]).render().split("\n")[:4] == [
        "error[E_PORT_IN_USE]: memory cannot listen on localhost:5000",
        "  config.yaml:7:11 |     port: 5000",
        "  held by pid 28110  python tensor.py  (user ana, started 2026-11-23 14:02, cwd /home/ana/old)",
        "  hint: stop it with  kill 28110",
    ]


def test_a_range_names_every_holder() -> None:
    """Ten ports, ten holders, each with its port; a hidden one is said to be hidden."""
    holders = tuple((port, Holder(None) if port == 5006 else HOLDER) for port in range(5005, 5015))
    text = str(PortInUse([PortConflict("inference", "localhost:5005-5014", holders=holders)]))
    assert all(f"port {port} held by" in text for port in range(5005, 5015))
    assert text.count("hides") == 1


def test_problems_are_sorted_and_counted_once() -> None:
    """In the order of the file, without doubles, with the count line of the contract."""
    late = ConfigProblem(9, 1, "config.yaml", "b", "is late")
    early = ConfigProblem(2, 5, "config.yaml", "a", "is early", source="    comand: x", width=6)
    assert ConfigInvalid([late, early, late]).render() == (
        "config.yaml:2:5: a: is early\n"
        "   2 |     comand: x\n"
        "     |     ^^^^^^\n"
        "config.yaml:9:1: b: is late\n"
        "error[E_CONFIG]: 2 errors; nothing was started or changed."
    )


def test_one_problem_is_one_error() -> None:
    """Singular."""
    text = ConfigInvalid([ConfigProblem(1, 1, "config.yaml", "", "is empty")]).render()
    assert text.endswith("error[E_CONFIG]: 1 error; nothing was started or changed.")


@pytest.mark.parametrize(
    ("source", "column", "carets"),
    [("\ta: x", 2, " ^"), ("a: 日本 x", 7, "        ^"), ("a: \x1b[31mred", 4, "   ^")],
)
def test_the_caret_stands_under_the_token(source: str, column: int, carets: str) -> None:
    """Tabs, wide characters and escape sequences do not shift it."""
    shown = ConfigProblem(1, column, "config.yaml", "a", "is wrong", source=source).render()
    assert shown.split("\n")[2] == f"     | {carets}"
    assert "\x1b" not in shown


def test_text_from_outside_cannot_drive_a_terminal() -> None:
    """Escape, bidi, zero-width and line-breaking characters are written out."""
    assert printable("a\x1b]0;x\x07\u202eb\u200b\n") == "a\\x1b]0;x\\x07\\u202eb\\u200b\\x0a"


def test_a_misspelt_service_is_guessed() -> None:
    """The nearest name, and the list."""
    error = NoSuchService("memroy", ["memory", "inference"])
    assert "did you mean 'memory'?" in str(error)
    assert error.hint is not None
    assert "inference" in error.hint
