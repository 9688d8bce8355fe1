"""A download by the hub's real library from a stand-in for the hub: what comes, and how far it is told."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from servers.embedding.downloading import progress_bars

COMMIT = "a" * 40
FILES = {"config.json": b"{}", "model.safetensors": bytes(3_000_000), "pytorch_model.bin": b"not wanted"}
CLIENT = """
import json
from servers.embedding.models import download
from servers.errors import ModelMissing
shares = []
try:
    files = download("org/model", shares.append)
    print(json.dumps({"path": str(files.path), "name": files.name, "shares": shares}))
except ModelMissing as error:
    print(json.dumps({"error": str(error)}))
"""


class Hub(BaseHTTPRequestHandler):
    """The three answers that a download asks a hub for: the model, its files, each file."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        """As GET, without the body."""
        self.do_GET()

    def do_GET(self) -> None:
        """Answer by what the path ends with."""
        path, name = self.path.partition("?")[0], self.path.rpartition("/")[2]
        if "/tree/" in path:
            files = [
                {"type": "file", "path": each, "size": len(FILES[each]), "oid": etag(each)} for each in FILES
            ]
            self._send(200, json.dumps(files).encode())
        elif path.startswith("/api/models/org/model"):
            siblings = [{"rfilename": each} for each in FILES]
            self._send(200, json.dumps({"id": "org/model", "sha": COMMIT, "siblings": siblings}).encode())
        elif name in FILES:
            self._send(200, FILES[name], {"ETag": f'"{etag(name)}"', "X-Repo-Commit": COMMIT})
        else:
            self._send(404, b"{}")

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


def etag(name: str) -> str:
    """What the hub calls a file's content."""
    return hashlib.sha1(FILES[name]).hexdigest()


@pytest.fixture
def hub() -> Iterator[str]:
    """The address of a hub with one model."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def downloaded(address: str, home: Path) -> tuple[dict[str, object], str]:
    """What a process that downloads prints, and what its library wrote beside."""
    online = {"HF_ENDPOINT": address, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CLIENT],
        env=os.environ | online,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    told: dict[str, object] = json.loads(done.stdout)
    return told, done.stderr


def test_a_download_tells_how_far_it_is(hub: str, tmp_path: Path) -> None:
    """Shares of the bytes up to all of them; the wanted files are there; no bar is drawn into the log."""
    told, drawn = downloaded(hub, tmp_path)
    shares = told["shares"]
    assert isinstance(shares, list)
    assert all(0 < share <= 1 for share in shares)
    assert shares[-1] == 1.0
    folder = Path(str(told["path"]))
    assert sorted(each.name for each in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert (folder / "model.safetensors").stat().st_size == 3_000_000
    assert "%" not in drawn


def test_a_hub_that_has_no_such_model_is_a_missing_model(hub: str, tmp_path: Path) -> None:
    """With the hub's reason in the sentence."""
    told, _ = downloaded(f"{hub}/elsewhere", tmp_path)
    assert "could not be downloaded" in str(told["error"])


def test_only_bytes_are_told() -> None:
    """A bar of files says little: one of them is nearly everything."""
    shares: list[float] = []
    bars = progress_bars(shares.append)
    with bars(total=10, unit="it", mininterval=0) as files, bars(total=400, unit="B", mininterval=0) as count:
        files.update(5)
        count.update(100)
        count.update(300)
    assert shares[:2] == [0.25, 1.0]
    assert set(shares) == {0.25, 1.0}
