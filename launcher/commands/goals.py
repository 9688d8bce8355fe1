"""What a verb waits for, judged on a status document: reached, still open, or out of reach.

Pure. A goal is about the named services; with none named, about every service that is wanted.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    """`open` are the children that the goal still waits for, `failed` those that put it out of reach."""

    open: tuple[str, ...] = ()
    failed: tuple[Document, ...] = ()

    @property
    def is_reached(self) -> bool:
        """Whether there is nothing left to wait for."""
        return not self.open and not self.failed


# What a child leaves only by a new generation.
AT_REST = ("stopped", "failed", "backoff")

Goal = Callable[[Document], Verdict]


def ready_goal(services: Collection[str], newer_than: Mapping[str, int] | None = None) -> Goal:
    """Every child is ready, and of a later generation than `newer_than` has for it.

    A one-shot that ended well counts as done; a failed child, or one that is stopped on purpose, as failed.
    """
    generations = newer_than or {}

    def judge(document: Document) -> Verdict:
        waiting: list[str] = []
        failed: list[Document] = []
        for service in _chosen(document, services):
            for child in service.get("children") or []:
                if child.get("generation", 0) <= generations.get(child["name"], -1):
                    waiting.append(child["name"])
                elif child["state"] == "failed" or (
                    service["desired"] != "up" and child["state"] == "stopped"
                ):
                    failed.append(child)
                elif child["state"] != "ready" and not _ended_well(child):
                    waiting.append(child["name"])
        return Verdict(tuple(waiting), tuple(failed))

    return judge


def stopped_goal(services: Collection[str]) -> Goal:
    """Every child is stopped, or has given up."""

    def judge(document: Document) -> Verdict:
        return Verdict(
            tuple(
                child["name"]
                for name, service in document["services"].items()
                if not services or name in services
                for child in service.get("children") or []
                if child["state"] not in ("stopped", "failed")
            )
        )

    return judge


def generations(
    document: Document, services: Collection[str], states: Collection[str] = ()
) -> dict[str, int]:
    """Child → generation, to tell a child that was started anew from what was there before.

    Of the named services; with `states`, of those children alone that are in one of them.
    """
    return {
        child["name"]: child.get("generation", 0)
        for name, service in document["services"].items()
        if name in services
        for child in service.get("children") or []
        if not states or child["state"] in states
    }


def _chosen(document: Document, services: Collection[str]) -> list[Document]:
    """The named services, or all that are wanted."""
    return [
        service
        for name, service in document["services"].items()
        if (name in services if services else service["desired"] == "up")
    ]


def _ended_well(child: Document) -> bool:
    """Whether a one-shot did its work: stopped after exit code 0."""
    last_exit = child.get("last_exit")
    return child["state"] == "stopped" and last_exit is not None and last_exit.get("code") == 0
