"""Every key of the dashboard: what it does, in a word and in a sentence.

One table feeds the bindings, the line of keys, the help and the palette, so that they cannot disagree. Keys
that
terminals or multiplexers take for themselves (function keys, Ctrl-S, Ctrl-B …) are not used.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text
from textual.binding import Binding, BindingType

__all__ = ["LOG_KEYS", "STACK_KEYS", "Key", "bindings", "help_text", "key_line"]


@dataclass(frozen=True)
class Key:
    """`keys` as the screen library names them, `shown` as a person does; `word` for the line of keys, where
    the lowest `rank` comes first and None never; `text` for help and palette. `is_command`: the palette has
    it.
    """

    keys: str
    shown: str
    action: str
    text: str
    word: str = ""
    rank: int | None = None
    is_command: bool = True
    is_priority: bool = False


STACK_KEYS = (
    Key("q,d,ctrl+q", "q, d", "do('leave')", "leave, and let everything run on", "leave", 0),
    Key("ctrl+c", "ctrl-c", "do('ask_to_leave')", "ask: stop everything, or leave it running", "stop?", 1,
        is_priority=True),
    Key("up,k", "up, k", "do('select', -1)", "select the service above", is_command=False),
    Key("down,j", "down, j", "do('select', 1)", "select the service below", is_command=False),
    Key("enter", "enter", "do('solo')", "one service alone: its log, figures, exits; again: back",
    "solo", 6),
    Key("escape", "esc", "do('back')", "drop the filters, then leave the solo view"),
    Key("r", "r", "do('restart')", "restart the selected service (starts a stopped one)", "restart", 2),
    Key("s", "s", "do('stop_or_start')", "stop the selected service, or start it", "stop/start", 3),
    Key("R", "R", "do('restart_all')", "restart every service"),
    Key("less_than_sign", "<", "do('sort', -1)", "sort by the column before"),
    Key("greater_than_sign", ">", "do('sort', 1)", "sort by the next column", "sort", 9),
    Key("g", "g", "do('gpus')", "show or hide a line for each GPU"),
    Key("v", "v", "do('timeline')", "what happened: every change of state", "events", 7),
    Key("c", "c", "do('configuration')", "the selected service's settings, and where each comes from",
    "config", 10),
    Key("o", "o", "do('console')", "copy the address of the console page"),
    Key("1", "1 2 3", "do('copy_line', 1)", "copy a line of the solo view", is_command=False),
    Key("2", "", "do('copy_line', 2)", "", is_command=False),
    Key("3", "", "do('copy_line', 3)", "", is_command=False),
    Key("question_mark", "?", "do('help')", "these keys", "help", 8),
    Key("ctrl+p", "ctrl-p", "do('palette')", "find a command by name", "palette", 11, is_command=False),
    Key("ctrl+z", "ctrl-z", "do('suspend')", "suspend the dashboard (the stack runs on)", is_command=False),
)  # fmt: skip

LOG_KEYS = (
    Key("slash", "/", "log('filter')", "filter by a regular expression; minds case if you do", "filter", 4),
    Key("e", "e", "log('errors')", "only lines that tell of errors", "errors", 5),
    Key("l", "l", "log('level')", "least level: all, info, warning, error", "level", 12),
    Key("t", "t", "log('time')", "time as clock, date, age, or none", "time", 13),
    Key("w", "w", "log('wrap')", "wrap long lines", "wrap", 14),
    Key("p", "p", "log('pretty')", "JSON on several rows"),
    Key("m", "m", "log('mark')", "draw a mark at the end of the log"),
    Key("y", "y", "log('copy')", "copy the screen, or what the mouse has marked", "copy", 15),
    Key("S", "S", "log('save')", "save the filtered lines to a file"),
    Key("f,end", "f, end", "log('follow')", "go to the newest line and follow", "follow", 16),
    Key("pageup", "pgup", "log('page_up')", "scroll up (pauses)", is_command=False),
    Key("pagedown", "pgdn", "log('page_down')", "scroll down", is_command=False),
    Key("home", "home", "log('top')", "go to the oldest line", is_command=False),
    Key("left", "left", "log('left')", "scroll half a screen to the left", is_command=False),
    Key("right", "right", "log('right')", "scroll half a screen to the right", is_command=False),
)


def bindings(keys: Sequence[Key]) -> list[BindingType]:
    """The keys as the screen library wants them."""
    return [Binding(key.keys, key.action, priority=key.is_priority, show=False) for key in keys]


def key_line(width: int, *, ascii_only: bool = False) -> Text:
    """The most important keys, as many as fit into `width` cells."""
    text = Text(" ", no_wrap=True, overflow="crop")
    ranked = [(key.rank, key) for key in (*STACK_KEYS, *LOG_KEYS) if key.rank is not None]
    for _, key in sorted(ranked, key=lambda pair: pair[0]):
        shown = key.shown.split(",")[0].replace("ctrl-", "^")
        if len(text) + len(shown) + len(key.word) + 3 > width:
            break
        text.append(shown, style="bold reverse").append(f" {key.word}  ")
    return text


def help_text() -> Text:
    """All keys, one a line: those of the stack, then those of the log."""
    text = Text(no_wrap=True, overflow="ellipsis")
    for title, keys in (("Stack", STACK_KEYS), ("Log", LOG_KEYS)):
        text.append(f"{title}\n", style="bold")
        for key in (each for each in keys if each.text):
            text.append(f" {key.shown:<9}", style="bold cyan").append(f" {key.text}\n")
    text.rstrip()
    return text
