"""Export, import and backup: files inside the data folder, byte for byte, while the store is in use."""

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.servers.memory.desk import NOON_MS, Desk, open_desk
from tests.servers.memory.doubles import Disk


async def fill(desk: Desk) -> None:
    """Store memories of every shape."""
    vector = np.random.default_rng(5).normal(size=384).astype(np.float32)
    await desk.ask(
        "store",
        items=[
            {
                "text": "line\nzero\0 🙂",
                "id": "rich",
                "metadata": {"b": 1, "a": [1.5, None, "ü"], "tags": ["t"]},
            },
            {"text": "given", "embedding": vector.tolist(), "significance": 1 / 3, "surprise": 0.1},
            {"text": "given again", "embedding": vector.tolist(), "expires_at": NOON_MS * 2},
            {"text": "far", "namespace": "far", "timestamp": -1},
        ],
    )
    await desk.ask("store", text="deleted", id="deleted")
    await desk.ask("delete", id="deleted")


def sizes(folder: Path) -> dict[Path, int]:
    """Every file below a folder and how long it is."""
    return {file: file.stat().st_size for file in folder.rglob("*")}


async def test_an_export_comes_back_to_the_byte(tmp_path: Path) -> None:
    """Export, import into an empty store, export again: the same bytes, and the same memories."""
    async with open_desk(tmp_path / "one") as desk:
        await fill(desk)
        reply = await desk.ask("export", path="out/all.jsonl")
        assert (reply["path"], reply["count"]) == ("out/all.jsonl", 4)
        everything = await desk.ask("retrieve", count=100, include=["embedding"])
    exported = (tmp_path / "one/out/all.jsonl").read_bytes()
    assert len(exported) == reply["size_bytes"]
    (tmp_path / "two").mkdir()
    (tmp_path / "two/in.jsonl").write_bytes(exported)
    async with open_desk(tmp_path / "two") as desk:
        done = await desk.ask("import", path="in.jsonl")
        assert (done["imported"], done["unchanged"], done["count"]) == (4, 0, 4)
        assert (await desk.ask("import", path="in.jsonl"))["unchanged"] == 4
        assert await desk.ask("retrieve", count=100, include=["embedding"]) == everything
        await desk.ask("export", path="again.jsonl")
    assert (tmp_path / "two/again.jsonl").read_bytes() == exported


async def test_one_namespace_can_be_exported(desk: Desk, tmp_path: Path) -> None:
    """Only its memories are in the file; without a path the file gets a name of its own."""
    await fill(desk)
    reply = await desk.ask("export", namespace="far")
    lines = (tmp_path / "data" / reply["path"]).read_text().splitlines()
    assert [json.loads(line)["text"] for line in lines[1:]] == ["far"]
    assert json.loads(lines[0])["format"] == "lucid.memories/1"


@pytest.mark.parametrize(
    "path",
    [
        "../x.jsonl",
        "/etc/x.jsonl",
        "memory.db",
        "memory.db-wal",
        "memory.lock",
        "out/../../x",
        ".",
        "a\0b",
        " ",
        "x/" * 500 + "x" * 25,
        "a/" + "é" * 121,
    ],
)
@pytest.mark.parametrize("command", ["export", "import", "backup"])
async def test_paths_stay_inside_the_folder(desk: Desk, tmp_path: Path, command: str, path: str) -> None:
    """No name leads out of the data folder, or to the store's own files."""
    before = sizes(tmp_path)
    reply = await desk.ask(command, path=path)
    assert (reply["code"], "path" in reply["error"]) == ("invalid_request", True)
    assert sizes(tmp_path) == before


async def test_links_are_not_followed(desk: Desk, tmp_path: Path) -> None:
    """A link inside the folder to something outside is neither read nor written through."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret.jsonl").write_text('{"text": "secret"}\n')
    (tmp_path / "data/door").symlink_to(tmp_path / "outside")
    (tmp_path / "data/file.jsonl").symlink_to(tmp_path / "outside/secret.jsonl")
    for path in ("door/secret.jsonl", "file.jsonl"):
        assert (await desk.ask("import", path=path))["code"] == "invalid_request"
    assert (await desk.ask("export", path="door/new.jsonl"))["code"] == "invalid_request"
    assert await desk.texts() == []


async def test_nothing_is_overwritten(desk: Desk, tmp_path: Path) -> None:
    """A file that exists is left alone, and the text says to choose another name."""
    (tmp_path / "data/mine").write_text("mine")
    for command in ("export", "backup"):
        assert "exists" in (await desk.ask(command, path="mine"))["error"]
    assert (tmp_path / "data/mine").read_text() == "mine"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("not json", "line 3"),
        ('{"id": "x"}', "line 3: namespace"),
        ("[]", "line 3"),
        ('{"id":"x","namespace":"d","text":"","timestamp":1,"significance":0,"surprise":0,"metadata":{},'
         '"embedding":""}', "line 3: text"),
        ('{"id":"x","namespace":"d","text":"t","timestamp":1,"significance":0,"surprise":0,"metadata":{},'
         '"embedding":"AAAA"}', "line 3: embedding"),
        ('{"id":"x","namespace":"d","text":"t","timestamp":1,"significance":2,"surprise":0,"metadata":{},'
         '"embedding":"AAAA"}', "line 3: significance"),
    ],
)  # fmt: skip
async def test_a_bad_line_stops_an_import_before_it_begins(
    desk: Desk, tmp_path: Path, line: str, told: str
) -> None:
    """Every line is checked first, so that nothing of a bad file is stored, and the line is named."""
    await desk.ask("store", text="kept", id="kept")
    await desk.ask("export", path="good.jsonl")
    await desk.ask("delete", id="kept")
    good = (tmp_path / "data/good.jsonl").read_text()
    (tmp_path / "data/bad.jsonl").write_text(f"{good}{line}\n")
    reply = await desk.ask("import", path="bad.jsonl")
    assert reply["code"] == "invalid_request"
    assert told in reply["error"]
    assert await desk.texts() == []


@pytest.mark.parametrize(("on_conflict", "text"), [("fail", "mine"), ("skip", "mine"), ("replace", "theirs")])
async def test_conflicts_are_settled_as_asked(
    desk: Desk, tmp_path: Path, on_conflict: str, text: str
) -> None:
    """A taken id refuses, gives way or takes over; the others of the file follow suit."""
    await desk.ask("store", items=[{"text": "theirs", "id": "x"}, {"text": "new", "id": "y"}])
    await desk.ask("export", path="theirs.jsonl")
    await desk.ask("delete", ids=["x", "y"])
    await desk.ask("purge", ids=["x", "y"])
    await desk.ask("store", text="mine", id="x")
    reply = await desk.ask("import", path="theirs.jsonl", on_conflict=on_conflict)
    assert reply["status"] == ("error" if on_conflict == "fail" else "success")
    assert set(await desk.texts()) == ({text} if on_conflict == "fail" else {text, "new"})


async def test_plain_lines_are_stored_like_items(desk: Desk, tmp_path: Path) -> None:
    """A file without our header is embedded and scored; importing it twice stores nothing twice."""
    (tmp_path / "data/plain.jsonl").write_text('{"text": "one", "metadata": {"k": 1}}\n\n{"text": "two"}\n')
    reply = await desk.ask("import", path="plain.jsonl")
    assert (reply["imported"], reply["unchanged"], reply["count"]) == (2, 0, 2)
    assert (await desk.ask("import", path="plain.jsonl"))["unchanged"] == 2
    assert sorted(await desk.texts()) == ["one", "two"]
    assert (await desk.ask("retrieve", query="one"))["memories"][0]["similarity"] == pytest.approx(
        1, abs=1e-6
    )


async def test_vectors_of_another_model_are_embedded_again_on_request(desk: Desk, tmp_path: Path) -> None:
    """They are refused by default, since they could not be compared; `reembed` keeps all but the vectors."""
    await desk.ask("store", text="a text", id="a", significance=0.25)
    await desk.ask("export", path="a.jsonl")
    await desk.ask("delete", id="a")
    await desk.ask("purge", ids=["a"])
    text = (tmp_path / "data/a.jsonl").read_text().replace('"model":"debug"', '"model":"another"')
    (tmp_path / "data/b.jsonl").write_text(text)
    assert "reembed" in (await desk.ask("import", path="b.jsonl"))["error"]
    assert (await desk.ask("import", path="b.jsonl", reembed=True))["imported"] == 1
    (memory,) = (await desk.ask("retrieve", query="a text"))["memories"]
    assert (memory["significance"], memory["similarity"]) == (0.25, pytest.approx(1, abs=1e-6))


async def test_a_backup_can_take_the_place_of_the_store(tmp_path: Path) -> None:
    """Restoring is putting the file in place: everything as of the backup is served, deletions included."""
    async with open_desk(tmp_path / "data") as desk:
        await fill(desk)
        reply = await desk.ask("backup", path="safe/monday.db")
        assert (reply["path"], reply["count"], reply["damaged"]) == ("safe/monday.db", 5, 0)
        assert (await desk.ask("stats"))["stats"]["last_backup"] == reply["created_at"]
        before = await desk.ask("retrieve", count=100, include=["embedding"])
        await desk.ask("store", text="after the backup")
    (tmp_path / "restored").mkdir()
    (tmp_path / "data/safe/monday.db").rename(tmp_path / "restored/memory.db")
    async with open_desk(tmp_path / "restored") as desk:
        assert await desk.ask("retrieve", count=100, include=["embedding"]) == before
        assert (await desk.ask("restore", id="deleted"))["restored"] == 1
        assert (await desk.ask("store", text="goes on"))["status"] == "success"


async def test_a_backup_is_made_while_stores_go_on(tmp_path: Path) -> None:
    """Stores are answered during the backup, and everything acknowledged before it began is in it."""
    async with open_desk(tmp_path / "data") as desk:
        await desk.ask("store", items=[{"text": f"memory {place}", "id": str(place)} for place in range(300)])
        backup = asyncio.ensure_future(desk.ask("backup", path="copy.db"))
        stored = await asyncio.gather(*(desk.ask("store", text=f"late {place}") for place in range(50)))
        assert all(reply["status"] == "success" for reply in stored)
        assert (await backup)["count"] >= 300
    (tmp_path / "copy").mkdir()
    (tmp_path / "data/copy.db").rename(tmp_path / "copy/memory.db")
    async with open_desk(tmp_path / "copy") as desk:
        found = await desk.ask("get", ids=[str(place) for place in range(300)])
        assert (found["count"], found["missing"]) == (300, [])


async def test_a_failing_disk_leaves_no_half_backup(desk: Desk, disk: Disk, tmp_path: Path) -> None:
    """The client learns of it, no file is left, and the next backup succeeds."""
    await desk.ask("store", text="a")
    disk.fault = OSError(28, "No space left on device")
    reply = await desk.ask("backup", path="b.db")
    assert reply["code"] in ("storage_full", "storage_error")
    assert [file.name for file in (tmp_path / "data").iterdir() if file.name.startswith("b.db")] == []
    disk.fault = None
    assert (await desk.ask("backup", path="b.db"))["status"] == "success"


async def test_files_of_clients_are_private(desk: Desk, tmp_path: Path) -> None:
    """Exports and backups can be read by their owner only."""
    await desk.ask("store", text="a")
    shown: list[dict[str, Any]] = [await desk.ask("export"), await desk.ask("backup")]
    for reply in shown:
        file = tmp_path / "data" / reply["path"]
        assert file.stat().st_mode & 0o077 == 0
        assert file.parent.stat().st_mode & 0o077 == 0
