"""A real terminal for tests: one pane of a private tmux server with a shell in it, typed into and looked at.

Waiting is on what the pane writes: tmux copies its output into a FIFO, and the screen is looked at anew
whenever something came.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

PATIENCE_S = 30.0
# A change that comes without output (a resize, the end of a process) is seen after this long at the latest.
_GLANCE_S = 0.5
_EXIT = re.compile(r"^exit=(\d+)\.$", re.MULTILINE)
_LAUNCH = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m launcher "$@"\n'
# `window-size manual` is not among them: tmux 3.3 ends when it starts with that.
_OPTIONS = "set -g default-terminal tmux-256color\nset -g set-clipboard on\n"


class Server:
    """A tmux server of its own with one session: `shell` in one pane, whose output is copied into a FIFO."""

    def __init__(self, folder: Path, environ: Mapping[str, str], width: int, height: int) -> None:
        self._place = Path(tempfile.mkdtemp(prefix="tmux-"))  # a socket's path must be short
        self._socket = self._place / "socket"
        programs = self._place / "bin"
        programs.mkdir()
        (programs / "lucid-launch").write_text(_LAUNCH)
        (programs / "lucid-launch").chmod(0o755)
        self._environ = {**environ, "PATH": f"{programs}:{environ['PATH']}"}
        rc, options = self._place / "rc", self._place / "options"
        rc.write_text("PS1='% '\n")
        options.write_text(_OPTIONS)
        size = ("-x", str(width), "-y", str(height))
        shell = f"exec bash --rcfile {shlex.quote(str(rc))} -i"
        self.command("-f", str(options), "new-session", "-d", *size, "-c", str(folder), shell)
        self._process = os.pidfd_open(int(self.command("display-message", "-p", "#{pid}")))
        self.command("set", "-g", "window-size", "manual")

    def command(self, *words: str) -> str:
        """Do what a tmux command says, and return what it prints."""
        done = subprocess.run(
            ["tmux", "-u", "-S", str(self._socket), *words],
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, f"tmux {words}: {done.stderr}"
        return done.stdout

    def copy_output(self) -> int:
        """Copy what the pane writes from now on; returns the descriptor that it can be read from."""
        fifo = self._place / "output"
        os.mkfifo(fifo)
        output = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        self.command("pipe-pane", "-O", f"exec cat >{shlex.quote(str(fifo))}")
        return output

    def signal(self, number: signal.Signals) -> None:
        """Signal the server."""
        signal.pidfd_send_signal(self._process, number)

    def close(self) -> None:
        """End it with all that is in it."""
        with contextlib.suppress(ProcessLookupError):
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
        os.close(self._process)
        shutil.rmtree(self._place)


class Terminal:
    """A pane of `width` by `height` cells whose shell knows `lucid-launch` and says `% ` when it is free.

    Whatever is waited for must come within `patience_s`.
    """

    def __init__(
        self,
        folder: Path,
        environ: Mapping[str, str],
        width: int,
        height: int,
        *,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._patience_s = patience_s
        self._server = Server(folder, environ, width, height)
        self._tmux = self._server.command
        self._output = self._server.copy_output()
        self._written = bytearray()
        self.shows("%")

    def text(self, *flags: str) -> str:
        """What is on the screen now; with `-e` its styles as escape codes too."""
        return self._tmux("capture-pane", "-p", *flags)

    def press(self, *keys: str) -> None:
        """Press keys by tmux's names: `q`, `C-c`, `Enter`, `Up`."""
        self._tmux("send-keys", *keys)

    def type(self, text: str) -> None:
        """Type text as it is."""
        self._tmux("send-keys", "-l", text)

    def run(self, line: str, *, shows: str = "", without: str | None = None) -> str:
        """Type a command line into the shell, press Enter, and wait for what it shows."""
        self.type(line)
        self.press("Enter")
        return self.shows(shows, without=without)

    def run_to_end(self, line: str) -> tuple[str, int]:
        """Run a command line until the shell is free again; returns the screen and the exit code."""
        self.run(f"{line}; echo exit=$?.")
        text = self.until(
            lambda text: _EXIT.search(text) is not None and text.rstrip().endswith("%"), f"{line!r} goes on"
        )
        return text, int(_EXIT.findall(text)[-1])

    def shows(self, *wanted: str, without: str | None = None) -> str:
        """Wait until every text of `wanted` is on the screen (and `without` is not); returns the screen."""
        complaint = f"{wanted} without {without!r} never came"
        return self.until(
            lambda text: all(each in text for each in wanted) and (without is None or without not in text),
            complaint,
        )

    def until(self, condition: Callable[[str], bool], complaint: str) -> str:
        """Wait until `condition` holds for the text of the screen, and return that."""
        deadline = time.monotonic() + self._patience_s
        while True:
            text = self.text()
            if condition(text):
                return text
            left = deadline - time.monotonic()
            assert left > 0, f"{complaint}; the screen is\n{text}"
            if select.select([self._output], [], [], min(left, _GLANCE_S))[0]:
                self._written += os.read(self._output, 1 << 20)

    def raw(self) -> bytes:
        """Every byte that was written to the terminal since the last call."""
        while select.select([self._output], [], [], 0)[0] and (chunk := os.read(self._output, 1 << 20)):
            self._written += chunk
        written, self._written = bytes(self._written), bytearray()
        return written

    def resize(self, width: int, height: int) -> None:
        """Give the window another size."""
        self._tmux("resize-window", "-x", str(width), "-y", str(height))

    def ask(self, variable: str) -> str:
        """A tmux variable of the pane, such as `alternate_on`."""
        return self._tmux("display-message", "-p", f"#{{{variable}}}").strip()

    def signal(self, number: signal.Signals) -> None:
        """Signal the terminal itself: stopped it takes no output, ended it is a window that was closed."""
        self._server.signal(number)

    def clipboard(self) -> str:
        """What was last copied by OSC 52."""
        return self._tmux("show-buffer")

    def is_sane(self) -> bool:
        """Whether a person could go on working: main screen, cursor, no mouse reports, echo."""
        modes = {name: self.ask(name) for name in ("alternate_on", "cursor_flag", "mouse_any_flag")}
        if modes != {"alternate_on": "0", "cursor_flag": "1", "mouse_any_flag": "0"}:
            return False
        text, _ = self.run_to_end("clear; stty -a")
        settings = text.replace(";", " ").split()
        return {"icanon", "echo", "isig", "onlcr"} <= set(settings)

    def close(self) -> None:
        """Close the window."""
        self._server.close()
        os.close(self._output)
