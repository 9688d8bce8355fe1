"""What the time of one call was spent on, from the reply and from what the caller measured.

Pure. Knows the `timing` of protocol.md section 3; does not know which stages a server has.
"""

from collections.abc import Mapping
from typing import Any

__all__ = ["ASK", "parts_of", "split_text"]

ASK = {"timing": True}
"""What a request carries to be told the stages; a server that does not know it ignores it."""

REST_OF_SERVER = "server"
REST_OF_REPLY = "transport"
_TOTAL = "total"


def parts_of(reply: Mapping[str, Any], took_ms: float) -> dict[str, float]:
    """The parts that add up to `took_ms`, in milliseconds, in the order in which they happened.

    First the stages that the server names, then `server`, whatever else it did, and `transport`: what is left
    for the sockets and the JSON of both sides. Empty for a reply that tells no times.
    """
    told = reply.get("timing")
    stages = {
        str(name).removesuffix("_ms"): float(ms)
        for name, ms in (told.items() if isinstance(told, Mapping) else ())
        if isinstance(ms, int | float) and not isinstance(ms, bool)
    }
    total = stages.pop(_TOTAL, None)
    if total is None:
        return stages
    rest = {REST_OF_SERVER: total - sum(stages.values()), REST_OF_REPLY: took_ms - total}
    # Two clocks and rounding: a rest of nothing may come out a few microseconds below it.
    return stages | {name: max(0.0, ms) for name, ms in rest.items()}


def split_text(connect_ms: float, took_ms: float, parts: Mapping[str, float]) -> str:
    """`connect 1.2 ms · reply 8.4 ms = queue 0.3 + infer 6.9 + server 0.4 + transport 0.8`."""
    shown = " + ".join(f"{name} {ms:.1f}" for name, ms in parts.items())
    return f"connect {connect_ms:.1f} ms · reply {took_ms:.1f} ms{f' = {shown}' if shown else ''}"
