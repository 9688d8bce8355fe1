"""The documentation as a site: it builds without a warning, and fetches nothing from anywhere."""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from docs.generate import error_reference

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
UNIT = re.compile(r"```ini\n(.*?)```", re.DOTALL)
CODE = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)


class Resources(HTMLParser):
    """Collects what a browser fetches by itself to show a page."""

    FETCHED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}  # noqa: RUF012  # read only

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes the address of a resource; a canonical or alternate link is not fetched."""
        given = dict(attrs)
        if tag == "link" and given.get("rel") in ("canonical", "alternate", "next", "prev"):
            return
        if (address := given.get(self.FETCHED.get(tag, ""))) is not None:
            self.found.append(address)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a link or anchor that leads nowhere, or a page outside of the navigation, fails it."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    return folder


def test_every_page_is_built_and_none_of_the_sources_that_write_them(site: Path) -> None:
    """A page for every Markdown file; what generates the references is no part of the site."""
    pages = {path.relative_to(DOCS).with_suffix(".html") for path in DOCS.glob("**/*.md")}
    built = {path.relative_to(site) for path in site.glob("**/*.html")}
    readmes = {path for path in pages if path.stem == "README"}
    assert {path.with_stem("index") for path in readmes} | pages - readmes <= built
    assert not (site / "generate").exists()


def test_pages_fetch_nothing_from_another_host(site: Path) -> None:
    """Neither scripts, styles, fonts nor pictures: the site works on a machine without a network."""
    for page in site.glob("**/*.html"):
        resources = Resources()
        resources.feed(page.read_text("utf-8"))
        assert [each for each in resources.found if re.match(r"(https?:)?//", each)] == [], page
    for style in site.glob("**/*.css"):
        assert re.findall(r"url\(['\"]?(?:https?:)?//[^)]*", style.read_text("utf-8")) == [], style


def test_every_picture_is_shown_somewhere(site: Path) -> None:
    """A screen that no page refers to would never be looked at again."""
    pages = "".join(path.read_text("utf-8") for path in (*DOCS.glob("**/*.md"), ROOT / "README.md"))
    assert [path.name for path in DOCS.glob("images/*") if f"images/{path.name}" not in pages] == []


def test_troubleshooting_covers_every_error_code() -> None:
    """Whoever looks up a code of the error reference finds what to do about it."""
    codes = set(CODE.findall(error_reference.render()))
    assert "E_PORT_IN_USE" in codes
    told = (DOCS / "how-to" / "troubleshoot.md").read_text("utf-8").rpartition("## By code")[2]
    assert sorted(code for code in codes if f"`{code}`" not in told) == []


@pytest.mark.parametrize(("place", "scope"), [(0, "--user"), (1, "--system")])
def test_the_systemd_units_are_right(tmp_path: Path, place: int, scope: str) -> None:
    """systemd itself finds no fault with the units of the how-to, where there is a systemd to ask."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze here (Debian, Ubuntu: apt-get install systemd)")
    unit = UNIT.findall((DOCS / "how-to" / "systemd.md").read_text("utf-8"))[place]
    file = tmp_path / "lucid.service"
    program = str(ROOT / "lucid")
    file.write_text(re.sub(r"(?<==)(%h/lucid|/srv/lucid)/lucid", program, unit), "utf-8")
    said = subprocess.run(
        ["systemd-analyze", scope, "verify", "--man=no", str(file)],
        env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    own = [line for line in said.stderr.splitlines() if "lucid" in line]
    assert (said.returncode, own) == (0, [])
