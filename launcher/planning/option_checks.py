"""Ask the built-in servers whether their `options` are right, before anything is spawned.

Each server checks its own options (`python -m servers.NAME --check-options`: JSON in, problems out), since
the launcher never imports it. Decides how long that may take and what an answer that is none means.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.config import Config, locate_problem
from launcher.configuration.models import Service
from launcher.errors import ActionFailed, ConfigProblem, ModelNotFound
from launcher.import_path import SAFE_PATH

__all__ = ["OptionFindings", "check_options"]

CHECK_TIMEOUT_S = 30.0
_MODEL_MISSING = "model_missing"


@dataclass(frozen=True)
class OptionFindings:
    """What the servers found: options that are wrong, and models that are not on this machine."""

    problems: tuple[ConfigProblem, ...]
    missing_models: tuple[ModelNotFound, ...]


def check_options(config: Config, services: Iterable[Service], environ: Mapping[str, str]) -> OptionFindings:
    """Check the options of every built-in server among `services`, all at the same time.

    Blocks for CHECK_TIMEOUT_S at most. Raises ActionFailed when a server cannot answer at all.
    """
    checked = [service for service in services if service.server is not None]
    running = [(service, _start(service, environ)) for service in checked]
    findings: list[tuple[Service, Mapping[str, Any]]] = []
    try:
        for service, process in running:
            findings += [(service, item) for item in _answer(service, process)]
    finally:
        for _, process in running:
            _end(process)
    problems = [_problem(config, service, item) for service, item in findings if not _is_model(item)]
    models = [_missing_model(config, service, item) for service, item in findings if _is_model(item)]
    return OptionFindings(tuple(problems), tuple(models))


def _start(service: Service, environ: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start the check; it imports while the others start."""
    return subprocess.Popen(
        [sys.executable, "-m", f"servers.{service.server}", "--check-options"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        cwd=service.cwd if service.cwd.is_dir() else None,
        env={**environ, **service.env, "PYTHONPATH": _import_path(environ), SAFE_PATH: "1"},
    )


def _import_path(environ: Mapping[str, str]) -> str:
    """Where `servers` is found although the service has its own folder and nothing may be installed."""
    here = str(Path(__file__).parents[2])
    return os.pathsep.join(part for part in (here, environ.get("PYTHONPATH", "")) if part)


def _answer(service: Service, process: subprocess.Popen[str]) -> list[Mapping[str, Any]]:
    try:
        out, err = process.communicate(json.dumps(service.options), timeout=CHECK_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        text = f"{service.name}: its options could not be checked within {CHECK_TIMEOUT_S:.0f} s"
        raise ActionFailed(text, hint="the machine is overloaded, or an option names a slow disk") from None
    try:
        answer = json.loads(out)
    except ValueError:
        answer = None
    if not isinstance(answer, list) or not all(isinstance(item, dict) for item in answer):
        last = (err.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        text = f"{service.name}: the {service.server} server could not check its options: {last}"
        raise ActionFailed(text, hint="see what is missing with  lucid-launch doctor")
    return answer


def _end(process: subprocess.Popen[str]) -> None:
    """Leave neither a process nor a pipe behind."""
    if process.poll() is None:
        process.kill()
        process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def _is_model(item: Mapping[str, Any]) -> bool:
    return item.get("code") == _MODEL_MISSING


def _key(service: Service, item: Mapping[str, Any]) -> str:
    location = item.get("loc")
    steps = location if isinstance(location, list) else []
    return ".".join(["services", service.name, "options", *map(str, steps)])


def _sentence(item: Mapping[str, Any]) -> str:
    message, hint = str(item.get("message", "is not allowed")), item.get("hint")
    return f"{message}; {hint}" if hint else message


def _problem(config: Config, service: Service, item: Mapping[str, Any]) -> ConfigProblem:
    is_unknown = item.get("code") == "unknown"
    return locate_problem(config, _key(service, item), _sentence(item), at_key=is_unknown)


def _missing_model(config: Config, service: Service, item: Mapping[str, Any]) -> ModelNotFound:
    key = _key(service, item)
    hint = item.get("hint")
    return ModelNotFound(
        service.name,
        str(item.get("message", "the model was not found")),
        where=config.mark(key),
        source=config.source(key),
        hint=None if hint is None else str(hint),
    )
