"""Every code of the program is provoked by a module of this folder, and stands in the reference."""

import importlib
import re
from pathlib import Path

from docs.generate.error_reference import launcher_codes
from tests.launcher.commands.error_catalogue.catalogue import PROVOKED

HERE = Path(__file__).parent
ROOT = HERE.parents[3]
REFERENCE = ROOT / "docs" / "reference" / "errors.md"
CODE = re.compile(r"\bE_[A-Z_]+[A-Z]\b")


def test_every_code_of_the_launcher_is_provoked() -> None:
    """A new error gets a test in this folder, and none names an error that is gone; whichever are run."""
    package = ".".join(HERE.relative_to(ROOT).parts)
    for module in HERE.glob("test_*_errors.py"):
        importlib.import_module(f"{package}.{module.stem}")
    assert set(launcher_codes()) == PROVOKED


def test_the_reference_lists_exactly_the_codes_in_the_code() -> None:
    """Every `E_…` of launcher, servers and `./lucid` stands in the error reference, and nothing else does."""
    sources = [path for folder in ("launcher", "servers") for path in (ROOT / folder).rglob("*.py")]
    sources.append(ROOT / "lucid")
    in_code = {code for path in sources for code in CODE.findall(path.read_text("utf-8"))}
    in_reference = set(CODE.findall(REFERENCE.read_text("utf-8")))
    assert in_code - {"E_FAILED"} == in_reference  # the base class's, which nothing raises
