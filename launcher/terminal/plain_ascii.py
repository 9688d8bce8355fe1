"""Text for places that carry nothing beyond ASCII: our own glyphs by their likeness, all else written out.

Pure.
"""

__all__ = ["in_ascii"]

_LIKENESS = str.maketrans(
    {"│": "|", "─": "-", "·": "-", "…": "...", "→": "->", "°": " ", "×": "x", "✓": "[ok]", "✖": "[FAIL]"}
)


def in_ascii(text: str) -> str:
    """`text` with every character beyond ASCII replaced, or written as `\\xfc` or `\\u20ac`."""
    if text.isascii():
        return text
    return text.translate(_LIKENESS).encode("ascii", "backslashreplace").decode("ascii")
