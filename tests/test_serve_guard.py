"""Who may ask the desk: names it goes by, origins, tokens, and the headers of every answer."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

pytest.importorskip("fastapi", reason="needs fastapi")
from serve_cases import WISH, ask, served, the, toy_desk

from emosae.serve.guard import Gate, is_loopback

OWN = {"host": "127.0.0.1:8765"}
GATE = Gate(host="127.0.0.1")
TOKEN = "a-token-of-some-length"


def status(gate: Gate, method: str = "GET", shown: str | None = None, **headers: str) -> int:
    refusal = gate.refusal(method, {name.replace("_", "-"): value for name, value in headers.items()}, shown)
    return 200 if refusal is None else refusal.status


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8765", "localhost:8765", "[::1]:8765", "localhost", "LOCALHOST:9000"]
)
def test_the_machine_s_own_names_pass(host: str) -> None:
    assert status(GATE, host=host) == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example:8765", "127.0.0.1.evil.example", "", "localhost.evil.example", "0.0.0.0:8765", "10.0.0.7"],
)
def test_other_names_are_refused(host: str) -> None:
    assert status(GATE, host=host) == 403  # a name that was made to point here


def test_an_address_of_its_own_goes_by_that_name_alone() -> None:
    gate = Gate(host="10.0.0.7", token=TOKEN)
    assert status(gate, shown=TOKEN, host="10.0.0.7:80") == 200
    assert status(gate, shown=TOKEN, host="localhost:80") == 403


def test_listening_everywhere_takes_numbers_and_no_foreign_names() -> None:
    gate = Gate(host="0.0.0.0", token=TOKEN)
    assert status(gate, shown=TOKEN, host="10.0.0.7:8765") == 200
    assert status(gate, shown=TOKEN, host="[2001:db8::1]:8765") == 200
    assert status(gate, shown=TOKEN, host="evil.example:8765") == 403


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "http://127.0.0.1:3000", "https://127.0.0.1:8765", "null"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_origin_is_refused(origin: str, method: str) -> None:
    assert status(GATE, method, **OWN, origin=origin) == 403


def test_what_changes_anything_must_say_its_origin() -> None:
    assert status(GATE, "POST", **OWN) == 403
    assert status(GATE, "POST", **OWN, origin="http://127.0.0.1:8765") == 200
    assert status(GATE, "GET", **OWN) == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_sites_may_link_and_not_embed(site: str) -> None:
    assert status(GATE, **OWN, sec_fetch_site=site, sec_fetch_mode="no-cors") == 403
    assert status(GATE, **OWN, sec_fetch_site=site, sec_fetch_mode="navigate") == 200
    assert status(GATE, **OWN, sec_fetch_site="same-origin", sec_fetch_mode="cors") == 200


def test_a_token_in_address_cookie_or_header() -> None:
    gate = Gate(host="127.0.0.1", token=TOKEN, cookie="emosae-8765")
    assert status(gate, **OWN) == 401
    assert status(gate, **OWN, shown=TOKEN[:-1]) == 401
    assert status(gate, **OWN, shown="") == 401
    assert status(gate, **OWN, shown="tökèn") == 401
    assert status(gate, **OWN, shown=TOKEN) == 200
    assert status(gate, **OWN, cookie=f"a=b; emosae-8765={TOKEN}") == 200
    assert status(gate, **OWN, cookie=f"emosae-9999={TOKEN}") == 401
    assert status(gate, **OWN, authorization=f"Bearer {TOKEN}") == 200
    assert status(gate, **OWN, authorization=f"Basic {TOKEN}") == 401
    # the token excuses nothing else
    assert status(gate, "POST", TOKEN, **OWN, origin="http://evil.example") == 403


def test_only_addresses_of_this_machine_are_loopback() -> None:
    assert [is_loopback(each) for each in ("127.0.0.1", "localhost", "::1")] == [True] * 3
    assert not any(is_loopback(each) for each in ("0.0.0.0", "::", "10.0.0.7", "example.org", ""))


def test_every_answer_carries_its_headers(tmp_path: Path) -> None:
    with served(toy_desk(tmp_path)) as client:
        for path in ("/", "/desk.js", "/style.css", "/api/desk", "/nothing", "/../secret"):
            headers = client.get(path).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "script-src 'self'" in policy
            assert "http" not in policy
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cache-control"] == "no-store"
        assert client.get("/").headers["content-type"].startswith("text/html")


def test_foreign_requests_reach_nothing(tmp_path: Path) -> None:
    with served(toy_desk(tmp_path)) as client:
        for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
            answer = client.post("/api/generate", json=WISH, headers=headers)
            assert answer.status_code == 403
            assert "data:" not in answer.text
        bare = httpx.post(f"{client.base_url}/api/generate".replace("//api", "/api"), json=WISH)
        assert bare.status_code == 403
        form = client.post(
            "/api/generate", content='{"prompt": "Once"}', headers={"Content-Type": "text/plain"}
        )
        assert form.status_code == 400
        assert "application/json" in form.json()["error"]


def test_a_token_opens_the_page_once_and_leaves_the_address(tmp_path: Path) -> None:
    gate = Gate(host="127.0.0.1", token=TOKEN, cookie="emosae-test")
    with served(toy_desk(tmp_path), gate) as client:
        assert client.get("/").status_code == 401
        assert client.get("/desk.js").status_code == 401
        assert client.get("/api/desk", params={"token": "wrong"}).status_code == 401
        opened = client.get("/", params={"token": TOKEN})
        assert opened.status_code == 303
        assert opened.headers["location"] == "/"
        cookie = opened.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert client.get("/").status_code == 200  # by the cookie
        the(ask(client, "/api/generate", WISH), "written")
        client.cookies.clear()
        assert client.post("/api/generate", json=WISH).status_code == 401
