"""How far a download from the Hugging Face hub is, as its library's own progress bars know it.

It decides what counts as the share: the bytes of all files that have begun, over their sizes. It does not
know what is downloaded, nor who is told.
"""

import io
from collections.abc import Callable
from typing import Any

__all__ = ["progress_bars"]


def progress_bars(on_share: Callable[[float], None]) -> type[Any]:
    """Return a class for the hub's `tqdm_class` whose bars draw nothing and report a share of bytes, 0…1.

    `on_share` is called from the hub's threads, some ten times a second; the share falls when a file begins.
    """
    from tqdm import tqdm  # type: ignore[import-untyped]  # it has no types, and only a download needs it

    class Bar(tqdm):  # type: ignore[misc]  # as above: the base class is untyped
        """One bar of the hub: of bytes, or of files, which tell less."""

        def __init__(self, *args: Any, **settings: Any) -> None:
            super().__init__(*args, **{**settings, "file": io.StringIO(), "disable": False})

        def display(self, *args: Any, **settings: Any) -> None:
            """Report instead of drawing."""
            if self.unit == "B" and self.total and self.n:
                on_share(min(1.0, self.n / self.total))

    return Bar
