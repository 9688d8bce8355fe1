"""Where Python looks for modules when our own programs are started: never in the folder that they happen to
be started in.

Decides that a project with a `queue.py` or a package `servers` of its own does no harm, and that the commands
of a stack find their modules as if nobody had decided anything. Standard library only, since the light verbs
import it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib.machinery import PathFinder

__all__ = ["SAFE_PATH", "is_ours_alone", "own_environ"]

SAFE_PATH = "PYTHONSAFEPATH"
"""Python's own variable: set, the current folder is not searched."""

_MARK = "LUCID_SAFE_PATH"


def own_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` for a program of ours, with the current folder out of its search.

    As it is where that was so already, or where our packages are found in the current folder alone.
    """
    if environ.get(SAFE_PATH) or not _is_found_elsewhere():
        return dict(environ)
    return {**environ, SAFE_PATH: "1", _MARK: "1"}


def is_ours_alone(environ: Mapping[str, str]) -> bool:
    """Whether `own_environ` took the folder out, so that a command of the user's must not inherit that."""
    return _MARK in environ


def _is_found_elsewhere() -> bool:
    try:
        here = os.getcwd()
    except FileNotFoundError:
        return True
    package = __name__.partition(".")[0]
    places = [place for place in sys.path if os.path.abspath(place) != here]
    if PathFinder.find_spec(package, places) is not None:
        return True
    finders = [finder for finder in sys.meta_path if finder is not PathFinder]
    return any(finder.find_spec(package, None) is not None for finder in finders)
