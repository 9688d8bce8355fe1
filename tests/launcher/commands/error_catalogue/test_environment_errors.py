"""Errors of the machine: ports, programs, models and GPUs that the file asks for and are not to be had."""

import os
import re
import socket
from pathlib import Path

from tests.integration.stack import Stack, free_ports
from tests.launcher.commands.error_catalogue.catalogue import provokes, said, services


@provokes("E_PORT_IN_USE")
def test_every_taken_port_is_named(stack: Stack) -> None:
    """Who wants it, where the file says so, who has it, and the mend: for each, and nothing is started."""
    first, second = free_ports(2)
    services(stack, f"a: {{command: [sleep, '1'], port: {first}}}", f"b: {{command: [cat], port: {second}}}")
    with socket.create_server(("127.0.0.1", first)), socket.create_server(("127.0.0.1", second)):
        lines = said(stack, "up", "-d", code=5)
    holder = re.compile(rf"  held by pid {os.getpid()}  .*  \(user \S+, started \d{{4}}-.*, cwd .*\)")
    for name, port, line, block in (("a", first, 2, lines[:4]), ("b", second, 3, lines[4:])):
        column = stack.config.read_text().splitlines()[line - 1].index(str(port)) + 1
        place = f"config.yaml:{line}:{column}"
        assert block[0] == f"error[E_PORT_IN_USE]: {name} cannot listen on localhost:{port}"
        assert block[1].startswith(f"  {place} |   {name}: ")
        assert holder.fullmatch(block[2]), block[2]
        assert block[3] == f"  hint: stop it with  kill {os.getpid()} , or choose another port at {place}"
    assert stack.wait_gone(stack.processes(), 5) == []


@provokes("E_COMMAND_NOT_FOUND")
def test_a_program_that_is_not_there(stack: Stack) -> None:
    """The service, the program, the place in the file."""
    services(stack, "job: {command: [no-such-program]}")
    assert said(stack, "up", "-d", code=6) == [
        "error[E_COMMAND_NOT_FOUND]: job: the program 'no-such-program' is not on PATH",
        "  config.yaml:2:18 |   job: {command: [no-such-program]}",
        "  hint: install it, or write its full path",
    ]


@provokes("E_MODEL_NOT_FOUND", "E_ENVIRONMENT")
def test_a_model_that_is_not_there_beside_another_lack(stack: Stack) -> None:
    """Both are told at once, each in full; the document for programs has one code for the two."""
    port = free_ports(1)[0]
    options = "options: {model: no/such-model}"
    services(
        stack, f"server: {{server: inference, port: {port}, gpu: none, {options}}}", "job: {command: [nix0]}"
    )
    lines = said(stack, "up", "-d", code=6)
    assert lines[0].startswith(
        "error[E_MODEL_NOT_FOUND]: server: The model 'no/such-model' is not on this machine (looked in "
    )
    assert lines[1].startswith("  config.yaml:2:")
    assert lines[2].startswith("  hint: Set `model` to the folder of a downloaded model, or allow")
    assert lines[3] == "error[E_COMMAND_NOT_FOUND]: job: the program 'nix0' is not on PATH"
    assert '"code": "E_ENVIRONMENT"' in stack.run("up", "-d", "--json", check=6).stdout


@provokes("E_GPU_MISSING")
def test_a_gpu_that_is_not_there(stack: Stack, cards: Path) -> None:
    """Which was wanted, which there are, where the file asks for it."""
    services(stack, "job: {command: [sleep, '1'], gpu: 3}")
    first, place, hint = said(stack, "up", "-d", code=6)
    assert first == "error[E_GPU_MISSING]: job: there is no GPU 3"
    assert place == "  config.yaml:2:37 |   job: {command: [sleep, '1'], gpu: 3}"
    assert hint == "  hint: there are: GPU 0 NVIDIA H200 (GPU-0, 8.6 GB free)"


@provokes("E_VRAM_SHORT")
def test_a_gpu_that_is_full(stack: Stack, cards: Path) -> None:
    """What is needed, what is free, and who has the rest."""
    services(stack, "job: {command: [sleep, '1'], gpu: 0, vram: 20GiB}")
    lines = said(stack, "up", "-d", code=6)
    assert lines[0].startswith("error[E_VRAM_SHORT]: job: ")
    assert "20" in lines[0]
    assert "8" in lines[0]
    assert lines[1].startswith("  config.yaml:2:")
