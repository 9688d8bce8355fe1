"""What the rounds of `benchmarks.inference` come to: each bound with its median ratio, and a table.

Decides which figures are compared with which; measures nothing.
"""

from __future__ import annotations

import operator
import statistics
from collections.abc import Callable
from typing import Any

Round = dict[str, Any]
Row = tuple[str, str, Callable[[Round], float]]
_SIGNS = {">=": operator.ge, "<=": operator.le, "<": operator.lt, "=": operator.eq}


def _per_second(system: str, clients: int) -> Callable[[Round], float]:
    return lambda each: float(each[system][str(clients)]["per_second"])


def _ratio(over: Callable[[Round], float], under: Callable[[Round], float]) -> Callable[[Round], float]:
    return lambda each: over(each) / under(each)


def _engine(backend: str) -> Callable[[Round], float]:
    def best(each: Round) -> float:
        alone = each[f"against engine {backend}"]["alone"]
        return statistics.median(float(rate["texts_per_second"]) for rate in alone)

    return best


def _share(backend: str, name: str) -> Callable[[Round], float]:
    return lambda each: float(each[f"against engine {backend}"][name])


def _encode(each: Round) -> float:
    return float(each["sentence-transformers"]["texts_per_second"])


def _p50(system: str) -> Callable[[Round], float]:
    return lambda each: float(each[system]["1"]["p50_ms"])


def rows(*, with_infinity: bool) -> list[Row]:
    """Return every bound: what it is, its limit in words, and how a round's figure comes about."""
    table: list[Row] = []
    for backend in ("auto", "torch"):
        table.append(
            (f"{backend}: 64 clients / the engine's own best rate", ">= 0.90", _share(backend, "share"))
        )
        table.append((f"{backend}: the same in CPU time for each text", "", _share(backend, "cpu_share")))
    for backend, least in (("torch", "3"), ("auto", "9")):
        seed = _ratio(_per_second(f"ours {backend}", 64), _per_second("seed-style", 64))
        table.append((f"{backend} / seed-style at 64 clients", f">= {least}", seed))
    table.append(("auto engine / SentenceTransformer.encode", ">= 4", _ratio(_engine("auto"), _encode)))
    if with_infinity:
        table += _infinity_rows()
    for backend in ("auto", "torch"):
        table += _behaviour_rows(backend)
    return table


def _infinity_rows() -> list[Row]:
    table: list[Row] = []
    for backend, least in (("auto", "3.5"), ("torch", "1.3")):
        for clients in (16, 64, 256):
            over = _ratio(_per_second(f"ours {backend}", clients), _per_second("infinity", clients))
            table.append((f"{backend} / infinity at {clients} clients", f">= {least}", over))
    for clients in (16, 64, 256):
        over = _ratio(_per_second("ours auto, /v1", clients), _per_second("infinity", clients))
        table.append((f"auto over /v1 / infinity at {clients} clients", ">= 3.5", over))
    latency = _ratio(_p50("ours auto"), _p50("infinity"))
    return [*table, ("auto / infinity, p50 at 1 client", "<= 0.4", latency)]


def _behaviour_rows(backend: str) -> list[Row]:
    def interactive(name: str) -> Callable[[Round], float]:
        return lambda each: float(each[f"interactive {backend}"][name]["times_idle"])

    def flood(name: str) -> Callable[[Round], float]:
        return lambda each: float(each[f"overload {backend}"][name])

    def refused(each: Round) -> float:
        return float(each[f"overload {backend}"]["refused_ms"]["p50"])

    def refused_p99(each: Round) -> float:
        return float(each[f"overload {backend}"]["refused_ms"]["p99"])

    def expired(each: Round) -> float:
        return float(each[f"overload {backend}"]["with_deadline"]["expired_computed"])

    def neighbours(key: str) -> Callable[[Round], float]:
        return lambda each: float(each[f"neighbours {backend}"][key])

    return [
        (f"{backend}: interactive p99 beside bulk / idle p99", "<= 3", interactive("bulk")),
        (f"{backend}: the same, bulk not declared", "<= 3", interactive("undeclared bulk")),
        (f"{backend}: goodput at 3x overload / peak", ">= 0.95", flood("goodput_share")),
        (
            f"{backend}: the same, of the cores that the generator left",
            "",
            flood("goodput_share_of_what_is_left"),
        ),
        (f"{backend}: cores that the generator took", "", flood("generator_cores")),
        (f"{backend}: p50 of refusals in ms", "< 5", refused),
        (f"{backend}: p99 of refusals in ms", "", refused_p99),
        (f"{backend}: expired texts computed", "= 0", expired),
        (f"{backend}: two servers at once / one alone", "", neighbours("share")),
        (f"{backend}: processor time for a text, one alone / two at once", "", neighbours("cpu_share")),
        (f"{backend}: two on one port / on a port each", "", neighbours("one_port_share")),
    ]


def summary(rounds: list[Round]) -> list[dict[str, Any]]:
    """Return each bound with the median and all figures of the rounds."""
    result: list[dict[str, Any]] = []
    for name, bound, figure in rows(with_infinity="infinity" in rounds[0]):
        figures = _figures(figure, rounds)
        if figures:
            median = statistics.median(figures)
            met = is_met(median, bound)
            result.append({"what": name, "bound": bound, "median": median, "met": met, "rounds": figures})
    return result


def _figures(figure: Callable[[Round], float], rounds: list[Round]) -> list[float]:
    """Return the figure of every round in which all of it was measured."""
    found: list[float] = []
    for each in rounds:
        try:
            found.append(round(figure(each), 3))
        except KeyError:
            continue
    return found


def is_met(figure: float, bound: str) -> bool | None:
    """Tell whether a figure keeps a bound such as `>= 0.90`; None without a bound."""
    if not bound:
        return None
    sign, limit = bound.split()
    return _SIGNS[sign](figure, float(limit))


def table(result: dict[str, Any]) -> str:
    """Return the result as text for people."""
    machine = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    lines = [
        f"machine: {machine['cpu']}, {machine['cpu_count']} cores; Python {machine['python']}; {versions}",
        _remark(float(machine["load_before"]), int(machine["cpu_count"])),
        f"rounds: {len(result['rounds'])}; medians of each round's ratio",
        "",
        f"{'':56}{'bound':>9}{'median':>10}  met  rounds",
    ]
    for row in result["summary"]:
        figures = "  ".join(f"{figure:g}" for figure in row["rounds"])
        said = {True: "yes", False: "no", None: ""}[row["met"]]
        lines.append(f"{row['what']:56}{row['bound']:>9}{row['median']:>10.3f}  {said:3}  {figures}")
    return "\n".join([*lines, "", "texts per second (median of rounds)", *_rates(result["rounds"])])


def _remark(load: float, cores: int) -> str:
    if load < cores / 4:
        return f"load of the machine before the run: {load}"
    return (
        f"load of the machine before the run: {load} on {cores} cores. It was busy with other things,\n"
        "differently from one measurement to the next: these figures do not decide whether a bound is kept."
    )


def _rates(rounds: list[Round]) -> list[str]:
    def median(key: str, *path: str) -> float:
        found = []
        for each in rounds:
            value: Any = each.get(key)
            for part in path:
                value = value.get(part) if value is not None else None
            if value is not None:
                found.append(float(value))
        return statistics.median(found)

    lines = []
    for key, value in rounds[0].items():
        if "alone" in value:
            best = [
                float(rate["texts_per_second"])
                for each in rounds
                if key in each
                for rate in each[key]["alone"]
            ]
            lines.append(f"  {key:24}{statistics.median(best):8.1f}  {value['alone'][0]['engine']}")
        elif "texts_per_second" in value:
            lines.append(
                f"  {key:24}{median(key, 'texts_per_second'):8.1f}  batch {value['batch']}, {value['engine']}"
            )
        elif "resident_mb" in value:
            clients = [count for count in value if count != "resident_mb"]
            rates = "  ".join(f"{count}: {median(key, count, 'per_second'):.1f}" for count in clients)
            lines.append(f"  {key:24}{rates}  ({median(key, 'resident_mb'):.0f} MiB)")
    return lines
