"""`lucid-launch init`: look at the machine and write a commented config.yaml that fits it.

Starts nothing but the servers' own check of their options. An existing file is never overwritten unasked.
"""

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from launcher.errors import ActionFailed, ConfigExists, LauncherError
from launcher.invocation import CONFIG_NAME, Invocation
from launcher.terminal.wrapping import hanging

if TYPE_CHECKING:
    from launcher.planning.first_config import Draft, Finding

__all__ = ["command"]

_MARKS = {"ok": ("✓", "[ok]", "green"), "warn": ("!", "[!!]", "yellow")}


@click.command(short_help="Write a config.yaml for this machine.")
@click.option("--force", is_flag=True, help="Replace a file that is there already.")
@click.option("--print", "only_print", is_flag=True, help="Print the file, write nothing.")
@click.option("--json", "as_json", is_flag=True, help="One document, schema lucid.init/1.")
@click.pass_obj
def command(invocation: Invocation, force: bool, only_print: bool, as_json: bool) -> int:
    """Look for GPUs, free ports and the model, and write a commented config.yaml that fits what was found.

    Beside it goes the JSON Schema that lets editors complete and check the file.
    """
    path = (invocation.directory / (invocation.file or CONFIG_NAME)).absolute()
    if path.exists() and not force and not only_print:
        raise ConfigExists(str(path))
    draft = _draft(path)
    findings = [*draft.findings, _model(draft.text, invocation.environ)]
    if not only_print:
        _write(path, draft.text)
    if as_json:
        document = {
            "schema": "lucid.init/1",
            "path": str(path),
            "written": not only_print,
            "findings": [asdict(finding) for finding in findings],
            "config": draft.text,
        }
        invocation.output.data(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        _tell(invocation, path, draft.text, findings, only_print=only_print)
    return 0


def _draft(path: Path) -> "Draft":
    from launcher.gpus import NvmlReader
    from launcher.planning.first_config import draft_config

    return draft_config(path.parent.name, NvmlReader().read(), _port_holder, os.cpu_count())


def _port_holder(port: int) -> str | None:
    """Who has this port; None when we could bind it."""
    from launcher.sockets import PortUnavailable, bind_service, close_all, find_holder

    try:
        close_all(bind_service("localhost", port))
    except PortUnavailable as error:
        return str(find_holder(port) or error.reason) if error.is_taken else error.reason
    return None


def _model(text: str, environ: Mapping[str, str]) -> "Finding":
    """Whether the servers of the drafted file find their model without a network."""
    from launcher.config import load_config
    from launcher.planning.first_config import Finding
    from launcher.planning.preflight import check_environment

    with tempfile.TemporaryDirectory(prefix="lucid-init-") as folder:
        draft = Path(folder, CONFIG_NAME)
        draft.write_text(text, encoding="utf-8")
        config = load_config(draft, environ)
        try:
            check_environment(config, config.services.values(), environ)
        except LauncherError as error:
            sentence = " ".join(str(error).split("\n")[0].split())
            return Finding("model", "warn", sentence, error.hint)
    return Finding("model", "ok", "all-MiniLM-L6-v2 is on this machine; nothing needs to be fetched")


def _write(path: Path, text: str) -> None:
    """Write the file and its schema, each in one step; raises ActionFailed when the folder refuses."""
    from launcher.configuration.schema import config_schema
    from launcher.planning.first_config import SCHEMA_NAME

    schema = json.dumps(config_schema(), ensure_ascii=False, indent=2) + "\n"
    try:
        for target, content in ((path.with_name(SCHEMA_NAME), schema), (path, text)):
            fresh = target.with_name(f"{target.name}.new")
            fresh.write_text(content, encoding="utf-8")
            os.replace(fresh, target)
    except OSError as error:
        raise ActionFailed(
            f"cannot write {path}: {error.strerror}", hint="name another place with  -f PATH"
        ) from error


def _tell(
    invocation: Invocation, path: Path, text: str, findings: "list[Finding]", *, only_print: bool
) -> None:
    """A line per finding, then the file (or where it is), then what comes next."""
    output = invocation.output
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        good, plain, color = _MARKS[finding.status]
        mark = click.style(plain if output.is_ascii(sys.stderr) else good, fg=color)
        choice = f"  -> {finding.choice}" if finding.choice else ""
        indent = len(plain if output.is_ascii(sys.stderr) else good) + 1 + width + 2
        head = f"{mark} {finding.name:<{width}}  "
        output.note(hanging(head, finding.detail + choice, indent, output.width(sys.stderr)))
    if only_print:
        output.data(text.rstrip("\n"))
        return
    output.note(f"wrote {path} ({len(text.splitlines())} lines, commented)")
    output.note("next: lucid-launch up")
