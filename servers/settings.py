"""What one server process is told, read once from argv and the environment.

Decides the names, defaults and limits of every option that both servers share, and the order of the
sources: argv, then the environment, then the defaults.  Does not know what any option does.  `--check-
options` lets the launcher validate the `options` of config.yaml with the very model that the server will
use; this module therefore imports nothing heavy.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from servers.errors import EX_CONFIG, BadSettings

__all__ = [
    "EmbeddingSettings",
    "OptionProblem",
    "ServerSettings",
    "check_options",
    "is_loopback",
    "option_problems",
    "read_settings",
    "wants_check",
]

MIB = 1 << 20
_ORIGIN = re.compile(r"https?://[^/\s?#@]+", re.IGNORECASE)
_DEVICE = r"^(auto|cpu|cuda|cuda:\d{1,3})$"

_ASSIGNED = (("port", "PORT"), ("host", "HOST"), ("vram_bytes", "LUCID_VRAM_BYTES"))

LEAST_NETWORK_TOKEN = 8
"""Characters of a token that guards more than loopback, whose users are on this machine already."""

S = TypeVar("S", bound="ServerSettings")


class ServerSettings(BaseModel):
    """The options of the doors, shared by both servers (protocol.md §2)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(default="localhost", min_length=1, description="name or address to bind")
    port: int | None = Field(default=None, ge=0, le=65535, description="None: the server's own default ports")
    allowed_origins: tuple[str, ...] = Field(default=(), description="besides loopback pages; 'null' too")
    allowed_hosts: tuple[str, ...] = Field(
        default=(), description="names that Host may carry besides loopback"
    )
    token: SecretStr | None = Field(default=None, description="required off loopback")
    token_file: Path | None = Field(default=None, description="a file whose first line is the token")
    insecure: bool = Field(default=False, description="allow other addresses than loopback without a token")
    max_message_bytes: int = Field(default=16 * MIB, ge=1024, le=1024 * MIB)
    max_connections: int = Field(default=1024, ge=1, le=100_000, description="open WebSockets")
    max_in_flight: int = Field(
        default=32, ge=1, le=4096, description="requests computed at once, per connection"
    )
    max_text_chars: int = Field(default=1_000_000, ge=1, description="longer texts are too_large")
    drain_s: float = Field(default=6.0, ge=0, le=3600, description="for accepted work after SIGTERM")

    @field_validator("allowed_origins")
    @classmethod
    def _origins_are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if origin != "null" and not _ORIGIN.fullmatch(origin.rstrip("/")):
                raise ValueError(
                    f"{origin!r} is not an origin; write scheme and host such as 'https://app.example'"
                )
        return tuple(origin.rstrip("/").lower() for origin in origins)

    @field_validator("token")
    @classmethod
    def _token_fits_a_header(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and not re.fullmatch(r"[A-Za-z0-9._~+/=-]{1,512}", token.get_secret_value()):
            raise ValueError("the token must be 1 to 512 of the characters A-Z a-z 0-9 . _ ~ + / = -")
        return token

    @model_validator(mode="after")
    def _one_token_source(self) -> Self:
        if self.token is not None and self.token_file is not None:
            raise ValueError("give either token or token_file, not both")
        return self

    def read_token(self) -> str | None:
        """The access token, from `token` or the first line of `token_file`; None when neither is set.

        Raises BadSettings when the file cannot be read or holds no usable token.
        """
        if self.token_file is None:
            return self.token.get_secret_value() if self.token else None
        try:
            text = self.token_file.expanduser().read_text("utf-8").strip()
            return type(self)(token=SecretStr(text)).read_token()
        except (OSError, UnicodeError, ValidationError) as error:
            raise BadSettings(
                "the access token cannot be read",
                where=f"token_file: {self.token_file} ({type(error).__name__})",
                mend="write one line of letters and digits into it, readable by this user only",
            ) from error

    def require_guard(self, where: str) -> None:
        """Raises BadSettings unless a token that cannot be guessed quickly, or `insecure`, allows others in.

        `where` is the address that they can reach.
        """
        if self.insecure or len(self.read_token() or "") >= LEAST_NETWORK_TOKEN:
            return
        raise BadSettings(
            f"an address that others can reach needs a token of at least {LEAST_NETWORK_TOKEN} characters",
            where=f"host: {where}",
            mend="set token_file (or token) in `options`, bind localhost, or, if you mean it, insecure: true",
        )


class EmbeddingSettings(BaseModel):
    """The options of the embedding worker; mixed flat into each server's settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(default="all-MiniLM-L6-v2", min_length=1, description="a name or a folder")
    device: str = Field(default="auto", pattern=_DEVICE, description="auto | cpu | cuda | cuda:N")
    backend: Literal["auto", "torch", "openvino", "onnx", "debug"] = Field(
        default="auto", description="auto measures once and remembers; debug: hashes, no model"
    )
    accuracy: Literal["exact", "high", "fast"] = Field(
        default="high", description="exact: float32; high: cosine of at least 0.9999 to it; fast: 0.99"
    )
    engine_cache: Path | None = Field(
        default=None, description="folder of exported models; None: in the user's cache"
    )
    download: bool = Field(default=False, description="may fetch a missing model from the model hub")
    threads: int | None = Field(default=None, ge=1, le=1024, description="CPU threads; None: the library's")
    vram_bytes: int | None = Field(
        default=None, ge=1, description="most GPU memory that torch may take; LUCID_VRAM_BYTES sets it"
    )
    max_batch_tokens: int = Field(default=16_384, ge=16, le=1 << 24, description="padded tokens in one batch")
    queue_tokens: int = Field(default=1 << 20, ge=16, description="tokens that may wait")
    queue_items: int = Field(default=16_384, ge=1, description="texts that may wait")
    max_request_texts: int = Field(default=2048, ge=1, le=65_536, description="texts in one request")


@dataclass(frozen=True)
class OptionProblem:
    """One thing wrong with an `options` object: where, what kind, a sentence, and perhaps a mend."""

    loc: tuple[str | int, ...]
    code: Literal["invalid", "unknown", "model_missing"]
    message: str
    hint: str | None = None


def is_loopback(host: str) -> bool:
    """Whether `host` is localhost or a loopback address; a name that needs a resolver is not."""
    try:
        return host.lower() == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def read_settings(model: type[S], argv: Sequence[str], environ: Mapping[str, str]) -> S:
    """The settings of this process: argv over environment (PORT, HOST, LUCID_…) over defaults.

    Raises BadSettings that names every bad option at once; a malformed command line exits with code 2 as
    argparse does.
    """
    options = {**_from_environment(model, environ), **_from_argv(model, argv)}
    problems = option_problems(model, options)
    if problems:
        first = problems[0]
        raise BadSettings(
            "; ".join(f"{_dotted(problem.loc)}: {problem.message}" for problem in problems),
            where="the command line, or `options` of this service in config.yaml",
            mend=first.hint,
        )
    return model.model_validate(options)


def option_problems(model: type[BaseModel], options: object) -> list[OptionProblem]:
    """Everything that `model` would refuse in `options`; empty when it is fine."""
    if not isinstance(options, dict):
        return [OptionProblem((), "invalid", "options must be an object")]
    try:
        model.model_validate(options)
    except ValidationError as error:
        return [_problem(model, item) for item in error.errors(include_url=False)]
    return []


def wants_check(argv: Sequence[str]) -> bool:
    """Whether this process was started only to check an options object."""
    return "--check-options" in argv


def check_options(model: type[S], find_problems: Callable[[S], Sequence[OptionProblem]]) -> int:
    """Answers `--check-options`: options as JSON on stdin, problems as a JSON list on stdout.

    `find_problems` looks at valid settings for what the model cannot see, such as missing files.  Returns the
    exit code: 0 without problems, else 78.
    """
    try:
        options = json.loads(sys.stdin.read() or "{}")
    except ValueError as error:
        problems = [OptionProblem((), "invalid", f"the options are not JSON: {error}")]
    else:
        problems = option_problems(model, options)
        if not problems:
            problems = list(find_problems(model.model_validate(options)))
    print(json.dumps([asdict(problem) for problem in problems]))
    return EX_CONFIG if problems else 0


def _from_environment(model: type[BaseModel], environ: Mapping[str, str]) -> dict[str, Any]:
    options: Any = {}
    if environ.get("LUCID_OPTIONS"):
        try:
            options = json.loads(environ["LUCID_OPTIONS"])
        except ValueError as error:
            raise BadSettings(f"LUCID_OPTIONS is not JSON: {error}", where="the environment") from error
    if not isinstance(options, dict):
        raise BadSettings("LUCID_OPTIONS must be a JSON object", where="the environment")
    # What the launcher assigned to this child beats what config.yaml says of the service as a whole.
    assigned = {name: environ.get(variable) for name, variable in _ASSIGNED if name in model.model_fields}
    return options | {name: value for name, value in assigned.items() if value}


def _from_argv(model: type[BaseModel], argv: Sequence[str]) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=(model.__doc__ or "").partition("\n")[0])
    for name in ("port", "host", "model", "path", "device", "backend"):
        if name in model.model_fields:
            parser.add_argument(f"--{name}", help=model.model_fields[name].description)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="any other option")
    parser.add_argument(
        "--check-options", action="store_true", help="check the JSON object on stdin and exit"
    )
    given = vars(parser.parse_args(list(argv)))
    options = {name: value for name, value in given.items() if value is not None}
    options.pop("check_options")
    for pair in options.pop("set"):
        key, equals, value = pair.partition("=")
        if not equals:
            parser.error(f"--set needs KEY=VALUE, got {pair!r}")
        options[key] = _scalar(value)
    return options


def _scalar(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _problem(model: type[BaseModel], item: Mapping[str, Any]) -> OptionProblem:
    loc = tuple(item["loc"])
    if item["type"] == "extra_forbidden":
        close = difflib.get_close_matches(str(loc[-1]), model.model_fields, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(model.model_fields))}"
        return OptionProblem(loc, "unknown", "unknown option", hint)
    message = str(item["msg"]).removeprefix("Value error, ")
    shown = "" if {"token", "store"} & set(loc) else f"; got {json.dumps(item['input'], default=str)[:80]}"
    described = model.model_fields[str(loc[0])].description if loc and loc[0] in model.model_fields else None
    return OptionProblem(loc, "invalid", message + (shown if loc else ""), described)


def _dotted(loc: Sequence[str | int]) -> str:
    return ".".join(map(str, loc)) or "options"
