"""The inference tab: vectors, their likeness, where the time went, and code to take along."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys

import pytest
from playwright.async_api import Locator, expect

from tests.browser.conftest import MakePair, OpenConsole
from tests.browser.watched_pages import Opener

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def values_of(cells: Locator) -> list[float]:
    """The numbers in table cells."""
    return [float(text) for text in await cells.all_inner_texts()]


async def test_several_texts_give_vectors_a_time_split_and_a_matrix(open_console: OpenConsole) -> None:
    """Unit vectors of 384 numbers, every text like itself, and each part of the time named."""
    page = await open_console("#inference")
    await page.fill("#texts", "tea\ncoffee\n\n tea ")
    await page.click("#embed")
    rows = page.locator("table:not(.matrix) tbody tr")
    await expect(rows).to_have_count(3)
    assert await rows.nth(0).locator("td").all_inner_texts() == [
        "384", "1.0000", *(await rows.nth(2).locator("td").all_inner_texts())[2:]
    ]  # fmt: skip
    cells = await values_of(page.locator(".heat"))
    assert [cells[0], cells[4], cells[8], cells[2]] == [1.0, 1.0, 1.0, 1.0]
    assert cells[1] == cells[3] < 1.0
    legend = await page.locator(".legend").inner_text()
    assert all(part in legend for part in ("queue", "tokenize", "infer", "server", "transport"))


async def test_one_text_needs_no_matrix_and_none_is_refused(open_console: OpenConsole) -> None:
    """Similarity takes two; an empty box is answered by the page itself."""
    page = await open_console("#inference")
    await page.fill("#texts", "  \n")
    await page.click("#embed")
    await expect(page.locator("#embed-note.error")).to_contain_text("Write 1 to 32 texts")
    await page.fill("#texts", "alone")
    await page.click("#embed")
    await expect(page.locator("table:not(.matrix) tbody tr")).to_have_count(1)
    await expect(page.locator(".matrix")).to_have_count(0)


async def test_a_truncated_text_says_so(open_console: OpenConsole) -> None:
    """A text over the model's limit is marked as cut, its neighbour is not."""
    page = await open_console("#inference")
    await page.fill("#texts", "word " * 4000 + "\nshort")
    await page.click("#embed")
    rows = page.locator("table:not(.matrix) tbody tr")
    await expect(rows.nth(0)).to_contain_text("yes, cut")
    await expect(rows.nth(1)).to_contain_text("no")


@pytest.mark.parametrize(("label", "run"), [("Python", [sys.executable, "-c"]), ("curl", ["bash", "-c"])])
async def test_copied_code_runs_as_it_is(open_console: OpenConsole, label: str, run: list[str]) -> None:
    """What the button puts on the clipboard gives vectors when it is run, quotes and all."""
    page = await open_console("#inference")
    await page.fill("#texts", 'it\'s a "kettle" – naïve $HOME `x`')
    await page.click("#embed")
    await page.click(f"text=Copy as {label}")
    await expect(page.get_by_role("button", name="Copied")).to_be_visible()
    code = await page.evaluate("navigator.clipboard.readText()")
    done = await asyncio.to_thread(
        subprocess.run, [*run, code], capture_output=True, text=True, timeout=60, check=True
    )
    assert "embedding" in done.stdout
    assert len(re.findall(r"-?\d\.\d+", done.stdout)) > 300


async def test_copied_json_holds_texts_and_vectors(open_console: OpenConsole) -> None:
    """The result can be taken elsewhere."""
    page = await open_console("#inference")
    await page.fill("#texts", "one\ntwo")
    await page.click("#embed")
    await page.click("text=Copy as JSON")
    await expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = json.loads(await page.evaluate("navigator.clipboard.readText()"))
    assert copied["texts"] == ["one", "two"]
    assert [len(vector) for vector in copied["embeddings"]] == [384, 384]


async def test_a_model_that_is_a_folder_is_called_what_the_server_calls_it(
    open_page: Opener, new_pair: MakePair
) -> None:
    """The try-out and the code to copy use the name that requests over HTTP need, a path included."""
    pair = new_pair("--model", "models/own-model")
    await asyncio.to_thread(pair.start)
    hosts = frozenset({f"localhost:{pair.inference.port}"})
    page = await open_page(f"{pair.memory.http}/#inference", hosts=hosts, is_faultless=False)
    await expect(page.locator("#summary")).to_have_text("2 of 2 servers ready")
    await page.click("#embed")
    await expect(page.locator(".matrix")).to_be_visible()
    await page.click("#tab-connect")
    code = page.get_by_role("region", name="OpenAI client code")
    await expect(code).to_contain_text('model="models/own-model"')
