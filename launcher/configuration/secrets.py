"""What counts as a secret, and text without it: for everything that shows settings or what a child did.

Pure. A value is secret when its key's or variable's name says so, wherever else the same value shows up, and
when it is a password inside a URL. Short values are left alone, as hiding them would garble everything.
"""

import re
from collections.abc import Iterator, Mapping

__all__ = ["HIDDEN", "Redaction"]

HIDDEN = "***"
_SECRET_NAME = re.compile(
    r"(?i)secret|passw(?:or)?d|passphrase|api_?key|credential"
    r"|(?:^|[_.-])(?:token|auth|authorization)(?:$|[_.-])|[_.-]key$"
)
_URL_PASSWORD = re.compile(r"(?<=://)([^/@\s:]*):([^/@\s]+)@")
_SHORTEST_SECRET = 6


class Redaction:
    """Replaces secrets wherever they show up; what is secret is gathered first, from keys and variables."""

    def __init__(self, settings: Mapping[str, object], environ: Mapping[str, str]) -> None:
        """Gather the secrets of `settings` (nested mappings and lists) and of `environ`."""
        named = (value for name, value in environ.items() if _SECRET_NAME.search(name))
        found = {*named, *_secrets_in(settings)}
        usable = sorted((value for value in found if len(value) >= _SHORTEST_SECRET), key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, usable))) if usable else None

    def text(self, text: str) -> str:
        """`text` as it may be shown."""
        shown = text if self._pattern is None else self._pattern.sub(HIDDEN, text)
        return _URL_PASSWORD.sub(rf"\1:{HIDDEN}@", shown)

    def value(self, value: object, key: str) -> object:
        """`value` as it may be shown under `key`."""
        if isinstance(value, Mapping):
            return {name: self.value(item, str(name)) for name, item in value.items()}
        if isinstance(value, list):
            return [self.value(item, key) for item in value]
        if value is not None and _is_secret(key) and not isinstance(value, bool):
            return HIDDEN
        return self.text(value) if isinstance(value, str) else value


def _is_secret(key: str) -> bool:
    """`token` is one; `token_file` only says where one is."""
    return _SECRET_NAME.search(key) is not None and not key.lower().endswith(("_file", "_path"))


def _secrets_in(value: object, key: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _secrets_in(item, str(name))
    elif isinstance(value, list):
        for item in value:
            yield from _secrets_in(item, key)
    elif isinstance(value, str) and _is_secret(key):
        yield value
