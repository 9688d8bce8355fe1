"""`python -m servers.inference` as a process: checking options, starting, stopping."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping

import pytest

COMMAND = [sys.executable, "-m", "servers.inference"]


def check(options: object, environ: Mapping[str, str] | None = None) -> tuple[int, list[dict[str, object]]]:
    """The exit code and the problems of `--check-options`."""
    done = subprocess.run(
        [*COMMAND, "--check-options"],
        input=json.dumps(options),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(environ or {})},
    )
    problems: list[dict[str, object]] = json.loads(done.stdout)
    return done.returncode, problems


def test_good_options_have_no_problems() -> None:
    """The shipped options pass, and the answer is an empty list."""
    assert check({"model": "all-MiniLM-L6-v2"}) == (0, [])
    assert check({}) == (0, [])


@pytest.mark.parametrize(
    ("options", "loc", "code"),
    [
        ({"modle": "x"}, ["modle"], "unknown"),
        ({"device": "gpu7"}, ["device"], "invalid"),
        ({"model": "no/such-model"}, ["model"], "model_missing"),
    ],
)
def test_each_problem_has_its_place_and_code(options: object, loc: list[str], code: str) -> None:
    """The launcher turns places into lines and columns, so they must be exact."""
    exit_code, problems = check(options, {"HF_HOME": "/nonexistent"})
    assert exit_code == 78
    assert [(problem["loc"], problem["code"]) for problem in problems] == [(loc, code)]
    assert problems[0]["message"]
    assert problems[0]["hint"]


def test_checking_imports_neither_the_model_s_libraries_nor_the_server() -> None:
    """Checking must stay quick, so nothing heavy may be imported on the way."""
    script = (
        "import sys, servers.inference.__main__ as m; m.find_problems(m.InferenceSettings());"
        "heavy = ('torch', 'numpy', 'starlette', 'uvicorn', 'prometheus_client');"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_bad_settings_end_the_start_with_the_code_for_do_not_retry() -> None:
    """A wrong option is explained on stderr without a traceback, and the exit code is 78."""
    done = subprocess.run([*COMMAND, "--set", "device=gpu7"], capture_output=True, text=True, check=False)
    assert done.returncode == 78
    assert "E_SETTINGS" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_model_ends_the_start_with_the_mend() -> None:
    """The process ends by itself, with where it looked and what to do."""
    done = subprocess.run(
        [*COMMAND, "--port", "0", "--model", "no/such-model"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_HOME": "/nonexistent"},
        timeout=60,
    )
    assert done.returncode == 78
    assert "E_MODEL_MISSING" in done.stderr
    assert "/nonexistent" in done.stderr
    assert "Traceback" not in done.stderr


def test_it_runs_alone_and_stops_cleanly_on_sigterm() -> None:
    """Started by hand it says where it listens and that it is ready; SIGTERM ends it with 0."""
    with subprocess.Popen(
        [*COMMAND, "--backend", "debug", "--port", "0"], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        seen = ""
        for line in process.stderr:
            seen += line
            if "ready" in line:
                break
        assert re.search(r"port \d+", seen)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
