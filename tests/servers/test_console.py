"""What the page may do and is made of."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from servers.console import ASSETS, PAGE, page_headers

SCRIPTS = [PAGE.with_name(name) for name in ASSETS if name.endswith(".js")]


def test_the_policy_allows_own_files_and_loopback_only() -> None:
    """Nothing inline, nothing from elsewhere, no framing."""
    policy = dict(
        part.split(" ", 1) for part in page_headers("box.lan:5000")["content-security-policy"].split("; ")
    )
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert "ws://box.lan:5000" in policy["connect-src"]
    assert "unsafe" not in str(policy)


def test_the_page_refers_to_served_files_only() -> None:
    """Every script and style exists, and none is inline, which the policy would refuse."""
    html = PAGE.read_text("utf-8")
    referred = set(re.findall(r'(?:src|href)="/console/([^"]+)"', html))
    assert referred <= set(ASSETS)
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=|https?://", html)
    assert all(PAGE.with_name(name).stat().st_size for name in ASSETS)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_write_text_nodes_only(script: object) -> None:
    """A memory that holds markup must show as text."""
    text = script.read_text("utf-8")  # type: ignore[attr-defined]  # a path
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function", text)


def test_the_whole_page_is_small() -> None:
    """First paint is quick through a tunnel too."""
    assert sum(path.stat().st_size for path in (PAGE, *map(PAGE.with_name, ASSETS))) < 50_000


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_parse(script: object) -> None:
    """A typing slip would leave an empty page."""
    checked = subprocess.run(
        ["node", "--input-type=module", "--check"],
        input=script.read_text("utf-8"),  # type: ignore[attr-defined]  # a path
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
