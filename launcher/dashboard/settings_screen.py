"""The settings of one service as `config show` prints them: every value, and where it came from."""

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from launcher.errors import LauncherError

__all__ = ["SettingsScreen", "read_settings", "service_block"]


class SettingsScreen(ModalScreen[None]):
    """Reads the file anew when it opens: it shows what a restart would use. `y` copies, Escape goes back."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,c,q", "dismiss(None)"),
        Binding("y", "copy"),
    ]

    def __init__(self, config_path: Path, service: str) -> None:
        super().__init__()
        self._config_path = config_path
        self._service = service
        self._lines = ["reading the file …"]
        self._text = Static()

    def compose(self) -> ComposeResult:
        """The lines, which can be scrolled."""
        with VerticalScroll(classes="dialogue wide"):
            yield self._text

    def on_mount(self) -> None:
        """Read in a thread: loading the models takes a moment."""
        self.query_one(VerticalScroll).border_title = Text(f"{self._service} · y copies · esc goes back")
        self.run_worker(self._read(), name="settings")

    async def _read(self) -> None:
        """Show the settings, or what is wrong with the file."""
        try:
            lines = await asyncio.to_thread(read_settings, self._config_path)
            self._lines = service_block(lines, self._service)
        except LauncherError as error:
            self._lines = error.render().splitlines()
        text = Text(no_wrap=True, overflow="ellipsis")
        for line in self._lines:
            setting, mark, origin = line.partition("  # ")
            text.append(setting).append(f"{mark}{origin}\n", style="dim")
        self._text.update(text)

    def action_copy(self) -> None:
        """Hand the lines to the terminal's clipboard."""
        self.app.copy_to_clipboard("\n".join(self._lines))
        self.notify(f"copied {len(self._lines)} lines", timeout=3, markup=False)


def read_settings(config_path: Path) -> list[str]:
    """The resolved file, line by line; raises ConfigInvalid, ConfigMissing. Secrets are left out."""
    from launcher.config import load_config
    from launcher.config_view import yaml_lines

    return list(yaml_lines(load_config(config_path, os.environ), os.environ))


def service_block(lines: Iterable[str], service: str) -> list[str]:
    """The lines of one service; a word about it when the file has it no more."""
    block: list[str] = []
    is_inside = False
    for line in lines:
        if line.startswith("  ") and not line.startswith("   "):
            is_inside = line.strip().rstrip(":").strip('"') == service
        elif not line.startswith(" "):
            is_inside = False
        if is_inside:
            block.append(line.removeprefix("  "))
    return block or [f"the file has no service {service} any more"]
