"""Health, readiness, metrics, description and page."""

from __future__ import annotations

import httpx
import pytest

from servers.http_routes import is_public, wants_page
from tests.servers.conftest import Serve
from tests.servers.probe_server import build_service

BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


async def test_health_is_ok_while_loading_and_ready_is_not(serve: Serve) -> None:
    """The process lives; whether it can serve is another question, answered with phase and Retry-After."""
    running = await serve(build_service(load_forever=True))
    async with httpx.AsyncClient(base_url=running.http) as client:
        health, ready = await client.get("/healthz"), await client.get("/readyz")
    assert health.status_code == 200
    assert ready.status_code == 503
    assert int(ready.headers["retry-after"]) >= 1
    assert (ready.json()["phase"], ready.json()["progress"]) == ("load-model", 0.62)


async def test_ready_is_200_until_the_worker_dies(serve: Serve) -> None:
    """A dead worker turns readiness back, with the reason."""
    service = build_service()
    running = await serve(service)
    async with httpx.AsyncClient(base_url=running.http) as client:
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["device"]) == (200, "cpu")
        service.is_alive = lambda: False
        dead = await client.get("/readyz")
    assert dead.status_code == 503
    assert "died" in dead.json()["detail"]


async def test_metrics_are_prometheus_text(serve: Serve) -> None:
    """The shared metrics are there under their published names."""
    running = await serve()
    async with httpx.AsyncClient(base_url=running.http) as client:
        response = await client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    for name in ("lucid_build_info{", "lucid_connections ", "lucid_service_up 1.0", "process_open_fds"):
        assert name in response.text


async def test_the_front_is_a_page_for_browsers_and_json_for_programs(serve: Serve) -> None:
    """One address, two kinds of visitor."""
    running = await serve()
    async with httpx.AsyncClient(base_url=running.http) as client:
        page = await client.get("/", headers=BROWSER)
        described = (await client.get("/")).json()
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert described["service"] == "probe"
    assert "echo" in described["commands"]
    assert described["links"]["metrics"] == "/metrics"


async def test_unknown_paths_are_404_as_json(serve: Serve) -> None:
    """A program can read why; /v1 has the shape that SDKs read."""
    running = await serve()
    async with httpx.AsyncClient(base_url=running.http) as client:
        plain, openai = await client.get("/nope"), await client.get("/v1/nope")
    assert (plain.status_code, plain.json()["code"]) == (404, "not_found")
    assert openai.json()["error"]["code"] == "not_found"


async def test_another_method_is_405_as_json(serve: Serve) -> None:
    """With the methods that the path takes, as every other refusal in words."""
    running = await serve()
    async with httpx.AsyncClient(base_url=running.http) as client:
        reply = await client.post("/healthz")
    assert (reply.status_code, reply.json()["code"]) == (405, "method_not_allowed")
    assert set(reply.headers["allow"].split(", ")) == {"GET", "HEAD"}
    assert "POST" in reply.json()["error"]


async def test_the_test_page_is_for_browsers(serve: Serve) -> None:
    """A browser gets the page under the same policy as the console; a program is told what it is."""
    running = await serve()
    async with httpx.AsyncClient(base_url=running.http) as client:
        page = await client.get("/test", headers={"accept": "text/html"})
        told = await client.get("/test", headers={"accept": "application/json"})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert (told.status_code, told.json()["code"]) == (404, "not_found")


async def test_a_browser_never_keeps_the_description_in_place_of_the_page(serve: Serve) -> None:
    """One address has two answers: caches are told so, and the JSON is not stored at all."""
    running = await serve()
    async with httpx.AsyncClient(base_url=running.http) as client:
        page = await client.get("/", headers={"accept": "text/html"})
        described = await client.get("/")
    assert "accept" in page.headers["vary"].lower()
    assert "accept" in described.headers["vary"].lower()
    assert described.headers["cache-control"] == "no-store"


async def test_only_the_listed_files_are_served(serve: Serve) -> None:
    """No name reaches the file system."""
    running = await serve()
    async with httpx.AsyncClient(base_url=running.http) as client:
        assert (await client.get("/console/console.js")).status_code == 200
        for path in (
            "/console/index.html",
            "/console/..%2f__init__.py",
            "/console/%2e%2e/x",
            "/console/nope",
        ):
            assert (await client.get(path)).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "accept", "public"),
    [
        ("GET", "/", "text/html", True),
        ("GET", "/console/console.js", "*/*", True),
        ("GET", "/test", "text/html", True),
        ("GET", "/test", "application/json", False),
        ("GET", "/", "*/*", False),
        ("POST", "/", "text/html", False),
        ("POST", "/console/session", "*/*", False),
        ("GET", "/console/../metrics", "text/html", False),
        ("GET", "console.js", "*/*", False),
        ("GET", "/metrics", "text/html", False),
    ],
)
def test_public_is_the_page_and_nothing_else(method: str, path: str, accept: str, public: bool) -> None:
    """Everything with data in it needs the token."""
    assert is_public(method, path, accept) is public
    assert wants_page(method, path, accept) is (public and path in ("/", "/test"))
