"""What the keys and the palette do to the stack and to the screen, by name: one function each.

Which key is which action is in `keys`; how a screen looks is in `view` and the screens.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from textual.worker import Worker

from launcher.dashboard.palette import Palette
from launcher.dashboard.screens import DETACH, STOP_ALL, HelpScreen, LeaveScreen
from launcher.dashboard.settings_screen import SettingsScreen
from launcher.dashboard.timeline import Timeline
from launcher.dashboard.top_line import console_address
from launcher.errors import LauncherError
from launcher.terminal.rows import Row

if TYPE_CHECKING:
    from launcher.dashboard.app import Dashboard

__all__ = ["ACTIONS", "ORDERS", "order"]

ORDERS = "orders"
"""The group of the workers that send commands: whoever leaves waits for them."""

_AT_REST = ("stopped", "failed")


def order(app: "Dashboard", kind: str, services: Sequence[str]) -> None:
    """Send a command for these services, once each, and say what came of it."""
    names = list(dict.fromkeys(services))

    async def send() -> None:
        try:
            await app.feed.command(kind, names)
        except LauncherError as error:
            app.notify(str(error), severity="error", markup=False)
        else:
            app.notify(f"{kind}: {', '.join(names)}", timeout=3, markup=False)

    if names:
        # Not the coroutine itself, which would be lost unseen if the app ended before it began.
        _: Worker[None] = app.run_worker(send, name=kind, group=ORDERS)


def _marked(app: "Dashboard") -> list[Row]:
    """The marked row as a list, empty before the first snapshot."""
    row = app.view.selected_row()
    return [] if row is None else [row]


def _select(app: "Dashboard", step: int) -> None:
    """Mark another row; the solo view goes along."""
    app.view.move(step)
    if app.view.solo is not None and app.view.selected is not None:
        _look_at(app, app.view.selected)
    app.arrange()


def _restart(app: "Dashboard") -> None:
    """Restart the marked service; a stopped one is started."""
    order(app, "restart", [row.service for row in _marked(app)])


def _stop_or_start(app: "Dashboard") -> None:
    """Stop the marked service, or start it when it is at rest."""
    rows = _marked(app)
    at_rest = all(row.state in _AT_REST for row in rows)
    order(app, "start" if at_rest else "stop", [row.service for row in rows])


def _restart_all(app: "Dashboard") -> None:
    """Restart every service that is wanted."""
    order(app, "restart", [row.service for row in app.view.rows() if row.desired == "up"])


def _solo(app: "Dashboard") -> None:
    """Look at the marked service alone, or at all again."""
    row = app.view.selected_row()
    if app.view.solo is not None or row is None:
        _look_at(app, None)
    else:
        _look_at(app, row.child)


def _look_at(app: "Dashboard", child: str | None) -> None:
    """Look at one child alone; None shows all."""
    app.view.solo = child
    app.view.selected = child or app.view.selected
    app.log_view.show_only(child)
    app.arrange()
    app.solo_panel.look_for_exits()


def _back(app: "Dashboard") -> None:
    """Drop the filters; without any, leave the solo view."""
    if app.log_view.ring.has_filters:
        app.log_view.clear_filters()
    elif app.view.solo is not None:
        _look_at(app, None)


def _sort(app: "Dashboard", step: int) -> None:
    """Sort by another column."""
    app.view.turn_sort(step, app.size.width)
    app.arrange()


def _gpus(app: "Dashboard") -> None:
    """Show or hide the lines about GPUs."""
    app.view.shows_gpus = not app.view.shows_gpus
    if app.view.document is not None and not app.view.document.get("gpus"):
        app.notify("this machine has no GPU that the driver tells of", timeout=3, markup=False)
    app.arrange()


def _timeline(app: "Dashboard") -> None:
    """Show what happened."""
    folder = app.config_path.parent / "logs" / "saved"
    app.push_screen(Timeline(list(app.events), folder, ascii_only=app.view.ascii_only))


def _configuration(app: "Dashboard") -> None:
    """Show the settings of the marked service."""
    for row in _marked(app):
        app.push_screen(SettingsScreen(app.config_path, row.service))


def _console(app: "Dashboard") -> None:
    """Copy the console's address."""
    address = console_address(app.view.document)
    if address is None:
        app.notify("no built-in server runs, so there is no console", timeout=3, markup=False)
    else:
        _copy(app, address)


def _copy_line(app: "Dashboard", number: int) -> None:
    """Copy one of the solo view's examples."""
    examples = app.solo_panel.examples()
    if 0 < number <= len(examples):
        _copy(app, examples[number - 1])


def _copy(app: "Dashboard", text: str) -> None:
    """Hand a line to the terminal's clipboard."""
    app.copy_to_clipboard(text)
    app.notify(f"copied  {text}", timeout=3, markup=False)


def _ask_to_leave(app: "Dashboard") -> None:
    """Ask what Ctrl-C meant; asked already, it means stop."""
    if isinstance(app.screen, LeaveScreen):
        app.screen.dismiss(STOP_ALL)
        return
    app.push_screen(LeaveScreen(), app.leave)


def _palette(app: "Dashboard") -> None:
    """Ask for a command by name, and do it."""

    async def run(action: str | None) -> None:
        if action is not None:
            await app.run_action(action)

    app.push_screen(Palette(app.view.rows()), run)


ACTIONS: Mapping[str, Callable[..., None]] = {
    "leave": lambda app: app.leave(DETACH),
    "ask_to_leave": _ask_to_leave,
    "select": _select,
    "solo": _solo,
    "look_at": _look_at,
    "back": _back,
    "restart": _restart,
    "stop_or_start": _stop_or_start,
    "restart_all": _restart_all,
    "order": lambda app, kind_and_service: order(app, kind_and_service[0], [kind_and_service[1]]),
    "sort": _sort,
    "gpus": _gpus,
    "timeline": _timeline,
    "configuration": _configuration,
    "console": _console,
    "copy_line": _copy_line,
    "help": lambda app: app.push_screen(HelpScreen()),
    "palette": _palette,
    "suspend": lambda app: app.action_suspend_process(),
}
