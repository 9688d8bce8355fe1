"""Durations and sizes as people write them: `500ms`, `1h30m`, `10MB`, `2GiB`.

Pure. Decides the units and their meaning; knows nothing of where the text came from.
"""

import math
import re

__all__ = ["format_duration", "format_size", "parse_duration", "parse_size"]

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
_BYTES = {
    "B": 1,
    **{unit: 1000**power for power, unit in enumerate(("KB", "MB", "GB", "TB"), 1)},
    **{unit: 1000**power for power, unit in enumerate(("K", "M", "G", "T"), 1)},
    **{unit: 1024**power for power, unit in enumerate(("KIB", "MIB", "GIB", "TIB"), 1)},
}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)", re.ASCII)
LONGEST_S = 366 * 86400.0
LARGEST_BYTES = 2**60


def parse_duration(value: object) -> float:
    """Seconds from `500ms`, `10s`, `5m`, `1h30m` or a plain number of seconds; 0 to 366 days.

    Raises ValueError with a sentence that says what is allowed.
    """
    if isinstance(value, str) and _DURATION.fullmatch(value):
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(value))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    else:
        raise ValueError(f"must be a duration such as 500ms, 10s, 5m or 1h30m, not {value!r}")
    if not 0 <= seconds <= LONGEST_S or math.isnan(seconds):
        raise ValueError(f"must be a duration between 0 and 366 days, not {value!r}")
    return seconds


def parse_size(value: object) -> int:
    """Bytes from `10MB` (decimal), `2GiB` (binary) or a plain number of bytes; at most 1 EiB.

    Raises ValueError with a sentence that says what is allowed.
    """
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is not None and match[2].upper() in _BYTES:
        size = float(match[1]) * _BYTES[match[2].upper()]
    elif isinstance(value, int) and not isinstance(value, bool):
        size = float(value)
    else:
        raise ValueError(f"must be a size such as 10MB or 2GiB, not {value!r}")
    if not 0 <= size <= LARGEST_BYTES:
        raise ValueError(f"must be a size between 0 and 1 EiB, not {value!r}")
    return int(size)


def format_duration(seconds: float) -> str:
    """The shortest exact way to write `seconds`: `500ms`, `90s`, `1h30m`; `parse_duration` reads it back."""
    milliseconds = round(seconds * 1000)
    if milliseconds % 1000:
        whole, rest = divmod(milliseconds, 1000)
        return f"{milliseconds}ms" if not whole else f"{whole}.{rest:03d}".rstrip("0") + "s"
    parts = []
    left = milliseconds // 1000
    for unit, length in (("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def format_size(size: int) -> str:
    """`size` in bytes for a person: `10 MB`, `2.5 GB`, decimal units, at most one digit after the point."""
    value, unit = float(size), "B"
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:.1f}".removesuffix(".0") + f" {unit}"
