"""Who may talk to the server: everybody on this machine, or whoever knows the token; never another web site."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from aiohttp import web

from humar_edge.errors import ConfigError

COOKIE = "humar_edge_token"
MIN_TOKEN = 8

HEADERS: dict[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: browsers would then send the login form with the origin "null".
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Sent with every answer."""

OPEN_PATHS = frozenset({"/login", "/login.js", "/style.css", "/icon.svg"})
"""What a visitor without the token gets."""

_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server on that host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def choose_token(host: str, token: str | None) -> str | None:
    """The token to ask for: the given one, a new one where the network can reach the server, else none.

    Raises:
        ConfigError: The given one is too short or not plain text.
    """
    if token is None:
        return None if is_loopback(host) else secrets.token_urlsafe(16)
    if len(token) < MIN_TOKEN or not (token.isascii() and token.isprintable()) or set(token) & set(' ",;\\'):
        raise ConfigError(f"a token needs at least {MIN_TOKEN} plain characters, without spaces, quotes, , ; and \\")
    return token


class Guard:
    """The middleware in front of all handlers.

    Args:
        host: What the server listens on.
        token: What visitors must know; None: nothing.
    """

    def __init__(self, host: str, token: str | None) -> None:
        self._token = token
        # Without a token, a foreign name in the Host header means that a web site had its own name point here.
        self._names = _LOCAL_NAMES | {host.lower()} if is_loopback(host) else None

    def middleware(self) -> Any:
        """For `web.Application(middlewares=...)`."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._check_name(request)
            self._check_origin(request)
            if request.path == "/login" and request.method == "POST":
                return await self._login(request)
            if self._token is None or request.path in OPEN_PATHS:
                return await handler(request)
            if request.method == "GET" and request.path == "/" and self.knows(request.query.get("token", "")):
                # Away with the token from the address, where others could read it.
                return self._welcome()
            if not self.admits(request):
                if request.path == "/":
                    raise web.HTTPSeeOther("/login")
                raise web.HTTPUnauthorized(text="the token is missing or wrong")
            return await handler(request)

        return guard

    def admits(self, request: web.Request) -> bool:
        """Whether a request brings the token: as a cookie, `Authorization: Bearer`, or `?token=`."""
        bearer = request.headers.get("Authorization", "")
        offered = (
            request.cookies.get(COOKIE, ""),
            bearer.removeprefix("Bearer ") if bearer.startswith("Bearer ") else "",
            request.query.get("token", ""),
        )
        return any([self.knows(token) for token in offered])

    def knows(self, token: str) -> bool:
        """Compare in a time that does not tell how much was right."""
        expected = (self._token or "").encode()
        return bool(expected) and hmac.compare_digest(token.encode("utf-8", "replace"), expected)

    def _check_name(self, request: web.Request) -> None:
        try:
            name = urlsplit(f"//{request.headers.get('Host', '')}").hostname
        except ValueError:
            name = None
        if name is None:
            raise web.HTTPBadRequest(text="the Host header is missing or wrong")
        if self._names is not None and name not in self._names:
            raise web.HTTPMisdirectedRequest(text="this server answers to localhost only")

    def _check_origin(self, request: web.Request) -> None:
        origin = request.headers.get("Origin")
        # All of an origin that follows its scheme is the host; taking more apart would fail on what is no address.
        foreign = origin is not None and origin.partition("://")[2] != request.headers["Host"]
        if request.method not in ("GET", "HEAD") and foreign:
            raise web.HTTPForbidden(text="requests from other web sites are refused")
        # Opening the page from a link is fine; everything else is asked for by the page itself.
        site = request.headers.get("Sec-Fetch-Site", "none")
        if site in ("cross-site", "same-site") and request.path not in ("/", "/login"):
            raise web.HTTPForbidden(text="requests from other web sites are refused")

    async def _login(self, request: web.Request) -> web.StreamResponse:
        try:
            fields = parse_qs((await request.content.read(4096)).decode())
        except ValueError as error:
            raise web.HTTPBadRequest(text="not a form") from error
        if self._token is not None and not self.knows(fields.get("token", [""])[0]):
            raise web.HTTPSeeOther("/login?wrong")
        return self._welcome()

    def _welcome(self) -> web.Response:
        response = web.Response(status=303, headers={"Location": "/"})
        if self._token is not None:
            # Lax, for links from chats and mails; everything that changes something is checked for its origin.
            response.set_cookie(COOKIE, self._token, httponly=True, samesite="Lax", path="/")
        return response


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Signal handler: the security headers on every answer."""
    response.headers.update(HEADERS)
