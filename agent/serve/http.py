"""Streamable HTTP on loopback, behind a bearer token."""

from __future__ import annotations

import hmac
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

TOKEN = "AUTOKERNEL_TOKEN"
HOST = "127.0.0.1"
SHORTEST = 16
"""Characters of a token that somebody chose."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def chosen_token() -> tuple[str, bool]:
    """The token, and whether it was made here. Raises ValueError with one sentence for one that is easily guessed."""
    given = os.environ.get(TOKEN, "").strip()
    if not given:
        return secrets.token_urlsafe(32), True
    if len(given) < SHORTEST or not given.isascii():
        raise ValueError(f"{TOKEN} must have at least {SHORTEST} ASCII characters: leave it away to have one made.")
    return given, False


def guarded(app: App, token: str) -> App:
    """`app` behind ``Authorization: Bearer TOKEN``; anybody else is answered 401 and nothing more."""
    expected = f"Bearer {token}".encode()

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, expected):
                headers = [(b"www-authenticate", b"Bearer"), (b"content-length", b"0")]
                await send({"type": "http.response.start", "status": 401, "headers": headers})
                await send({"type": "http.response.body", "body": b""})
                return
        await app(scope, receive, send)

    return guard


def listen(port: int) -> socket.socket:
    """A socket on loopback, before anything is opened for it. Raises OSError where the port is taken."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((HOST, port))
    listening.listen()
    return listening


def serve(server: Any, listening: socket.socket, token: str, say: Callable[[str], None]) -> None:
    """Serve until interrupted. Host and Origin of every request must be this machine's (the SDK's protection against
    DNS rebinding, which it turns on for loopback)."""
    import uvicorn

    app = guarded(server.streamable_http_app(host=HOST), token)
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=2, lifespan="on")
    say(f"serving http://{HOST}:{listening.getsockname()[1]}/mcp")
    uvicorn.Server(config).run(sockets=[listening])
