"""`python -m docs.generate`: write the reference pages that come from the code.

The pictures are made apart: `python -m docs.generate.picture` draws the dashboard over a demonstration stack,
`terminal_screens` captures tmux and `page_pictures` Chromium, both with real servers and the real model.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from docs.generate import command_reference, config_reference, error_reference, message_reference, schemas

__all__ = ["PAGES"]

REFERENCE = Path(__file__).parents[1] / "reference"

PAGES: dict[Path, Callable[[], str]] = {
    REFERENCE / "cli.md": command_reference.render,
    REFERENCE / "config.md": config_reference.render,
    REFERENCE / "errors.md": error_reference.render,
    REFERENCE / "messages.md": message_reference.render_page,
    REFERENCE / "asyncapi.json": message_reference.render_asyncapi,
    REFERENCE / "schemas" / "README.md": schemas.render_index,
} | {
    REFERENCE / "schemas" / f"{name}.1.json": partial(schemas.render_schema, name)
    for name in schemas.DOCUMENTS
}
"""Every generated page and what writes it."""

if __name__ == "__main__":
    for path, render in PAGES.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(render(), encoding="utf-8")
        print(f"wrote {path}")
