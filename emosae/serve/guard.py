"""Who may ask the server: its own page on this machine, and whoever shows the token.

Any page that a browser has open can send requests to this machine, and a name of its own can be made to point here
(DNS rebinding). So every request must name this server as its host, and what changes anything must come from its page.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

__all__ = ["Gate", "Guard", "Refusal", "is_loopback"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

_READS = frozenset({"GET", "HEAD"})
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_ANY = frozenset({"0.0.0.0", "::", ""})

_DESK = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; frame-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
# The browser's page carries its style inside; its scripts are files of its own.
_BROWSER = (
    "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; "
    "base-uri 'none'; form-action 'none'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def is_loopback(host: str) -> bool:
    """Whether an address can only be reached from this machine."""
    return host in _LOOPBACK


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """Why a request is turned away: an HTTP status and a sentence."""

    status: int
    sentence: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """Decides on requests.

    Attributes:
        host: The address that the server listens on.
        token: What a visitor must show; None asks for nothing.
        cookie: Name of the cookie that keeps the token; cookies are shared by all ports of a machine.
    """

    host: str
    token: str | None = None
    cookie: str = "emosae"

    def refusal(self, method: str, headers: Mapping[str, str], shown: str | None = None) -> Refusal | None:
        """Say why a request is turned away; None lets it in.

        Args:
            method: Its method.
            headers: Its headers, names in lower case.
            shown: A token in its address.
        """
        host = headers.get("host", "")
        if not self._is_own(_name(host)):
            return Refusal(
                status=403,
                sentence=f"This server does not go by the name {host[:100]!r}. Use the address it printed.",
            )
        origin = headers.get("origin")
        if origin is not None and origin.casefold() != f"http://{host}".casefold():
            return Refusal(status=403, sentence="Another site's page sent this. Use the desk's own page.")
        if origin is None and method not in _READS:
            return Refusal(
                status=403,
                sentence="A request that changes something must say its Origin. Use the desk's own page.",
            )
        embedded = headers.get("sec-fetch-mode", "navigate") != "navigate"
        if embedded and headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}:
            return Refusal(
                status=403, sentence="Another site's page asked for this. Use the desk's own page."
            )
        if self.token is not None and not self._is_token(headers, shown):
            return Refusal(
                status=401,
                sentence="The token is missing or wrong. Open the whole address that emosae serve printed.",
            )
        return None

    def _is_own(self, name: str) -> bool:
        if is_loopback(self.host):
            return name in _LOOPBACK
        if self.host not in _ANY:
            return name == self.host.casefold()
        # Listening on every address: an attack by rebinding needs a name, so numbers and this machine's names pass.
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in _LOOPBACK | {socket.gethostname().casefold(), socket.getfqdn().casefold()}
        return True

    def _is_token(self, headers: Mapping[str, str], shown: str | None) -> bool:
        assert self.token is not None
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        cookies = [part.strip().partition("=") for part in headers.get("cookie", "").split(";")]
        given = [value for name, _, value in cookies if name == self.cookie]
        given += [bearer] if scheme.casefold() == "bearer" else []
        given += [] if shown is None else [shown]
        wanted = self.token.encode()
        return any(secrets.compare_digest(each.encode("utf-8", "replace"), wanted) for each in given)


class Guard:
    """Stands before an ASGI application: turns requests away, and gives every answer its headers.

    A token in the address is put into a cookie and the address is shown without it, so that it is neither in the
    history nor passed on.

    Args:
        inner: The application.
        gate: What decides.
    """

    def __init__(self, inner: Application, gate: Gate) -> None:
        self._inner, self._gate = inner, gate

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._inner(scope, receive, send)
            return
        if scope["type"] != "http":  # a websocket: there are none here
            return
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        tokens = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token")
        shown = tokens[0] if tokens else None
        sending = _with_headers(send, scope["path"])
        refusal = self._gate.refusal(scope["method"], headers, shown)
        if refusal is not None:
            await _answer(sending, refusal.status, refusal.sentence)
        elif shown is not None and self._gate.token is not None and scope["method"] in _READS:
            cookie = f"{self._gate.cookie}={self._gate.token}; HttpOnly; SameSite=Lax; Path=/"
            await _answer(sending, 303, "", {"Location": "/", "Set-Cookie": cookie})
        else:
            await self._inner(scope, receive, sending)


def _name(host: str) -> str:
    """Take the port off a Host header; an address of IPv6 stands in brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0].casefold()
    return host.partition(":")[0].casefold()


def _with_headers(send: Send, path: str) -> Send:
    policy = _BROWSER if path.startswith("/browse") else _DESK
    own = {**_HEADERS, "Content-Security-Policy": policy}

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            names = {name.lower().encode() for name in own}
            kept = [pair for pair in message.get("headers", []) if pair[0].lower() not in names]
            message["headers"] = [*kept, *((name.encode(), value.encode()) for name, value in own.items())]
        await send(message)

    return sending


async def _answer(send: Send, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
    pairs = {"Content-Type": "text/plain; charset=utf-8", **(headers or {})}
    coded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs.items()]
    await send({"type": "http.response.start", "status": status, "headers": coded})
    await send({"type": "http.response.body", "body": text.encode()})
