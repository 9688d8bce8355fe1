"""Makes foreign text harmless for a terminal: no escape sequence, no control byte, no direction trick
survives.

Pure. Applied to everything a child wrote, on its way to a person's screen; files and JSON keep the original.
"""

import re

MAX_LINE_CHARS = 65_536

# ECMA-48: CSI, then OSC/DCS/SOS/PM/APC strings up to BEL or ST (or the line's end when the child never closed
# them), then two- and three-character escapes. The 8-bit forms of the same introducers are matched as well.
_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]"
)
# C0 without tab, DEL, C1, line/paragraph separators, and the bidirectional controls ("Trojan Source").
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")


def clean(text: str) -> str:
    """One line of printable text from one line of anything.

    Escape sequences vanish, a progress bar's `\\r` leaves its latest state, tabs become spaces, every other
    control character is shown as `\\x07` or `\\u202e`. At most MAX_LINE_CHARS characters are looked at.
    """
    if text.isascii() and text.isprintable():
        return text[:MAX_LINE_CHARS]
    text = text[:MAX_LINE_CHARS].rstrip("\r\n")
    if "\r" in text:
        text = text.rpartition("\r")[2]
    text = _SEQUENCE.sub("", text)
    return _CONTROL.sub(_visible, text).expandtabs(8)


def _visible(match: re.Match[str]) -> str:
    """The written-out form of one control character."""
    number = ord(match.group())
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"
