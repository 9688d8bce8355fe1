"""Host, Origin and token rules, case by case."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.access import AccessRules, Credentials, OriginVerdict

TOKEN = "s3cret-token-of-a-test"


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost",
        "http://localhost:3000",
        "https://localhost:8443",
        "http://127.0.0.1:5000",
        "http://[::1]",
        "http://[::1]:9",
        "HTTP://LOCALHOST:80",
    ],
)
def test_loopback_pages_are_allowed(origin: str) -> None:
    """Any scheme and port of the loopback names, in any case."""
    assert AccessRules().judge_origin([origin]) is OriginVerdict.ALLOWED


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://localhost.evil.com",
        "http://localhost@evil.com",
        "http://evil.com#localhost",
        "http://127.0.0.1.evil.com",
        "http://localhost:",
        "http://localhost\n",
        "http://localhost/",
        "file://",
        "chrome-extension://localhost",
        "NULL",
        "",
    ],
)
def test_every_other_page_is_foreign(origin: str) -> None:
    """Names that only look like loopback are refused."""
    assert AccessRules().judge_origin([origin]) is OriginVerdict.FOREIGN


def test_no_origin_is_allowed_and_two_are_not() -> None:
    """Programs send none; nobody honest sends two."""
    assert AccessRules().judge_origin([]) is OriginVerdict.ALLOWED
    assert AccessRules().judge_origin(["http://localhost"] * 2) is OriginVerdict.FOREIGN


def test_null_is_restricted_unless_it_was_allowed() -> None:
    """A file and a sandboxed frame of a hostile page look the same."""
    assert AccessRules().judge_origin(["null"]) is OriginVerdict.NULL
    assert AccessRules(origins=frozenset({"null"})).judge_origin(["null"]) is OriginVerdict.ALLOWED


def test_listed_origins_are_allowed_exactly() -> None:
    """Scheme, host and port all count."""
    rules = AccessRules(origins=frozenset({"https://app.example"}))
    assert rules.judge_origin(["https://app.example"]) is OriginVerdict.ALLOWED
    assert rules.judge_origin(["http://app.example"]) is OriginVerdict.FOREIGN
    assert rules.judge_origin(["https://app.example:444"]) is OriginVerdict.FOREIGN


@given(st.text(max_size=30))
def test_only_loopback_origins_pass_whatever_is_sent(origin: str) -> None:
    """No random string is taken for a loopback page."""
    verdict = AccessRules().judge_origin([origin])
    rest = origin.lower().partition("://")[2]
    assert verdict is not OriginVerdict.ALLOWED or rest.startswith(("localhost", "127.0.0.1", "[::1]"))


@pytest.mark.parametrize(
    ("hosts", "local", "is_allowed"),
    [
        (["localhost"], None, True),
        (["LocalHost:5000"], None, True),
        (["127.0.0.1:5000"], None, True),
        (["[::1]:5000"], None, True),
        (["mybox.lan:80"], None, True),
        (["192.168.1.5:5000"], "192.168.1.5", True),
        (["[fe80::1]:5000"], "fe80::1", True),
        (["192.168.1.5:5000"], "127.0.0.1", False),
        (["evil.example"], None, False),
        (["localhost.evil.example"], None, False),
        (["localhost:5000", "localhost:5000"], None, False),
        ([], None, False),
        ([""], None, False),
        (["localhost:port"], None, False),
        (["user@localhost"], None, False),
        (["localhost\n"], None, False),
    ],
)
def test_host_must_name_this_server_exactly_once(
    hosts: list[str], local: str | None, is_allowed: bool
) -> None:
    """A foreign name that resolves to loopback is how DNS rebinding gets in."""
    assert AccessRules(hosts=frozenset({"mybox.lan"})).is_host_allowed(hosts, local) is is_allowed


@pytest.mark.parametrize(
    ("credentials", "is_authorized"),
    [
        (Credentials(authorization=f"Bearer {TOKEN}"), True),
        (Credentials(authorization=f"bearer  {TOKEN} "), True),
        (Credentials(subprotocols=("lucid.v1", f"bearer.{TOKEN}")), True),
        (Credentials(), False),
        (Credentials(authorization=f"Basic {TOKEN}"), False),
        (Credentials(authorization=TOKEN), False),
        (Credentials(authorization="Bearer "), False),
        (Credentials(authorization=f"Bearer {TOKEN}x"), False),
        (Credentials(subprotocols=(TOKEN,)), False),
        (Credentials(subprotocols=("bearer.",)), False),
        (Credentials(authorization="Bearer \udcff"), False),
        (Credentials(cookies=(f"lucid_console={TOKEN}",)), False),
        (Credentials(cookies=("lucid_console=\0;;=",)), False),
    ],
)
def test_the_token_may_come_in_three_places(credentials: Credentials, is_authorized: bool) -> None:
    """Header and subprotocol carry the token itself; the cookie never does."""
    assert AccessRules(token=TOKEN).is_authorized(credentials) is is_authorized


def test_the_cookie_is_derived_from_the_token() -> None:
    """Who reads the cookie does not learn the token, and another token's cookie is no use."""
    rules = AccessRules(token=TOKEN)
    assert TOKEN not in rules.cookie_value()
    assert rules.is_authorized(Credentials(cookies=(f"a=b; lucid_console={rules.cookie_value()}",)))
    other = AccessRules(token="another-token-entirely").cookie_value()
    assert not rules.is_authorized(Credentials(cookies=(f"lucid_console={other}",)))


def test_without_a_token_everybody_is_authorized() -> None:
    """On loopback the token is optional."""
    assert AccessRules().is_authorized(Credentials())


@pytest.mark.parametrize(
    ("token", "offered", "chosen"),
    [
        (None, [], None),
        (None, ["mqtt"], None),
        (None, ["bearer.anything"], "bearer.anything"),
        (TOKEN, [f"bearer.{TOKEN}"], f"bearer.{TOKEN}"),
        (TOKEN, [f"bearer.{TOKEN}", "lucid.v1"], "lucid.v1"),
        (TOKEN, ["bearer.wrong", f"bearer.{TOKEN}"], f"bearer.{TOKEN}"),
        (TOKEN, ["bearer.wrong"], None),
    ],
)
def test_only_an_offered_and_proved_subprotocol_is_echoed(
    token: str | None, offered: list[str], chosen: str | None
) -> None:
    """A browser needs one of its offers back; the token is echoed only when nothing else can be."""
    assert AccessRules(token=token).choose_subprotocol(offered) == chosen
