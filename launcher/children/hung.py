"""A hung child as whoever looks at it needs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from launcher.children.diagnosing import HungChild
from launcher.output import OutputReader
from launcher.procfs import read_stat

if TYPE_CHECKING:
    from launcher.children.runtime import ChildRuntime

__all__ = ["hung_child"]


def hung_child(
    child: ChildRuntime, output: OutputReader | None, environ: Mapping[str, str], why: str
) -> HungChild | None:
    """Return what there is to look at; None when its leader has just ended."""
    leader = None if child.tree is None else read_stat(child.tree.pid)
    if child.tree is None or leader is None or leader.started_ticks != child.tree.started_ticks:
        return None
    return HungChild(
        name=child.name,
        generation=child.life.generation,
        why=why,
        leader=leader,
        members=child.tree.members(),
        dumps_stacks=child.service.server is not None,
        output=output,
        settings=child.service.options,
        environ=environ,
        gpus=child.around.gpus.report,
    )
