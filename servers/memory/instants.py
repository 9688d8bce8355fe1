"""Points in time as the wire writes them: epoch milliseconds or ISO-8601 (protocol.md sections 3 and 4).

Pure. It converts between the two forms; it does not know what time it is now.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST_MS: Final = -62_135_596_800_000
"""0001-01-01T00:00:00Z, the first instant that ISO-8601 text of four-digit years can name."""
LATEST_MS: Final = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z, the last one."""


def instant_ms(value: object) -> int:
    """Return `value` as epoch milliseconds: a number of milliseconds, or ISO-8601 text (without zone: UTC).

    Fractions of a millisecond are cut off. Raises ValueError, with the reason as text, for anything else
    and for instants outside the years 1…9999.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("must be ISO-8601 text or a number of milliseconds since 1970")
    milliseconds = _from_text(value) if isinstance(value, str) else _from_number(value)
    if not EARLIEST_MS <= milliseconds <= LATEST_MS:
        raise ValueError("must lie in the years 1 to 9999 (numbers are milliseconds since 1970)")
    return milliseconds


def iso_utc(milliseconds: int) -> str:
    """Return epoch milliseconds as ISO-8601 in UTC with milliseconds, such as 2026-01-02T03:04:05.678Z."""
    instant = EPOCH + timedelta(milliseconds=milliseconds)
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _from_number(value: float) -> int:
    try:
        return int(value)
    except (ValueError, OverflowError) as error:
        raise ValueError("must be a finite number of milliseconds since 1970") from error


def _from_text(text: str) -> int:
    try:
        instant = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise ValueError("is not ISO-8601, such as 2026-01-02T03:04:05Z") from error
    aware = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    return (aware - EPOCH) // timedelta(milliseconds=1)
