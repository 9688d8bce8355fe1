"""What the page may do and is made of."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from servers.console import ASSETS, PAGES, STATIC, page_headers

SCRIPTS = [STATIC / name for name in ASSETS if name.endswith(".js")]
MOST_BYTES = 150_000


def test_the_policy_allows_own_files_and_loopback_only() -> None:
    """Nothing inline, nothing from elsewhere, no framing."""
    policy = dict(
        part.split(" ", 1) for part in page_headers("box.lan:5000")["content-security-policy"].split("; ")
    )
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert {"ws://box.lan:*", "http://box.lan:*"} <= set(policy["connect-src"].split())
    assert "unsafe" not in str(policy)


def test_the_policy_names_no_ipv6_address() -> None:
    """Browsers report one as an error; the page's own address is 'self' anyway."""
    policy = page_headers("[::1]:5000")["content-security-policy"]
    assert "[" not in policy
    assert "connect-src 'self' " in policy


@pytest.mark.parametrize("page", PAGES.values(), ids=lambda path: path.name)
def test_the_pages_refer_to_served_files_only(page: Path) -> None:
    """Every script and style exists, and none is inline, which the policy would refuse."""
    html = page.read_text("utf-8")
    referred = set(re.findall(r'(?:src|href)="/console/([^"]+)"', html))
    assert referred
    assert referred <= set(ASSETS)
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=|https?://", html)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_import_served_files_only(script: Path) -> None:
    """A module that is not there would leave an empty page; one from elsewhere would not work offline."""
    imported = re.findall(r'(?:from|import\()\s*"([^"]+)"', script.read_text("utf-8"))
    assert {name.removeprefix("/console/") for name in imported} <= set(ASSETS)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_write_text_nodes_only(script: Path) -> None:
    """A memory that holds markup must show as text."""
    text = script.read_text("utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function", text)


def test_all_files_together_are_small() -> None:
    """First paint is quick through a tunnel too."""
    assert sum(path.stat().st_size for path in STATIC.iterdir()) < MOST_BYTES


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_parse(script: Path) -> None:
    """A typing slip would leave an empty page."""
    checked = subprocess.run(
        ["node", "--input-type=module", "--check"],
        input=script.read_text("utf-8"),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
