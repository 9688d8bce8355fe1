"""The colours behind the names `red`, `green` … on a screen that can show them.

Chosen for a dark background: no name of a service looks like an error, and red is left to what is broken.
"""

from rich.terminal_theme import TerminalTheme

__all__ = ["COLORS"]

COLORS = TerminalTheme(
    background=(18, 18, 20),
    foreground=(214, 217, 224),
    normal=[
        (30, 31, 36),
        (236, 106, 115),
        (140, 200, 120),
        (232, 192, 112),
        (104, 168, 240),
        (196, 150, 236),
        (94, 196, 208),
        (190, 196, 206),
    ],
    bright=[
        (110, 116, 128),
        (255, 138, 143),
        (170, 222, 150),
        (248, 214, 144),
        (140, 190, 255),
        (216, 180, 250),
        (132, 220, 230),
        (240, 242, 246),
    ],
)
