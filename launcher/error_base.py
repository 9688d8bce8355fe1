"""The base of every error of the launcher, and how an error travels to another process.

Decides what each error has: a sentence, a code, an exit code, a mend, JSON details. Which errors there are is
`errors`, from where all of this is imported.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["LauncherError", "RelayedError", "from_document"]


class LauncherError(Exception):
    """A failure: its sentence for the user, a stable code, an exit code and, where there is one, the mend."""

    code: str = "E_FAILED"
    exit_code: int = 1
    hint: str | None = None
    fields: tuple[str, ...] = ()

    def details(self) -> dict[str, object]:
        """The fields of this error as JSON-ready values."""
        return {name: _document(getattr(self, name)) for name in self.fields}

    def render(self) -> str:
        """What a user sees on stderr, most important line first and the mend last; no newline at the end."""
        text = f"error[{self.code}]: {self}"
        return text if self.hint is None else f"{text}\n  hint: {self.hint}"

    def to_document(self) -> dict[str, object]:
        """The error as a JSON object; `from_document` is its inverse as far as a reader needs."""
        return {
            "code": self.code,
            "exit_code": self.exit_code,
            "message": str(self),
            "hint": self.hint,
            "details": self.details(),
            "text": self.render(),
        }


def _document(value: object) -> object:
    """A field of an error as JSON: what has a document form of its own uses it."""
    if isinstance(value, tuple):
        return [_document(item) for item in value]
    to_document = getattr(value, "to_document", None)
    return value if to_document is None else to_document()


class RelayedError(LauncherError):
    """An error that happened in another process and was received as a document."""

    def __init__(self, document: Mapping[str, object]) -> None:
        self.message = str(document.get("message", "the other side failed without saying why"))
        self.code = str(document.get("code", "E_FAILED"))
        exit_code = document.get("exit_code")
        self.exit_code = exit_code if isinstance(exit_code, int) else 1
        hint, details, text = document.get("hint"), document.get("details"), document.get("text")
        self.hint = hint if isinstance(hint, str) else None
        self._details = dict(details) if isinstance(details, Mapping) else {}
        self._text = text if isinstance(text, str) else None
        super().__init__(self.message)

    def __str__(self) -> str:
        return self.message

    def details(self) -> dict[str, object]:
        """The details as they were sent."""
        return self._details

    def render(self) -> str:
        """The text as the other side rendered it, or our own rendering when it sent none."""
        return self._text if self._text is not None else super().render()


def from_document(document: Mapping[str, object]) -> RelayedError:
    """The error that `to_document()` described: same code, exit code, sentence, hint and rendering."""
    return RelayedError(document)
