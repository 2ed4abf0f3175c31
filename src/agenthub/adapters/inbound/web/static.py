"""The dashboard's static files, with the strictest policy they can live under."""

import mimetypes
from collections.abc import Awaitable, Callable, MutableMapping
from importlib.resources import files
from typing import Any

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SAFETY = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-cache"),
)


class Dashboard:
    """An ASGI app over files read once. `paths` are the ones it serves; they hold no secret."""

    def __init__(self) -> None:
        assets = files("agenthub.adapters.inbound.web") / "assets"
        self._files = {f"/assets/{one.name}": one.read_bytes() for one in assets.iterdir()}
        self._files["/"] = self._files.pop("/assets/index.html")

    @property
    def paths(self) -> frozenset[str]:
        return frozenset(self._files)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Send) -> None:
        body = self._files[scope["path"]] if scope["method"] in ("GET", "HEAD") else None
        status = 405 if body is None else 200
        content = body or b""
        kind = mimetypes.guess_type(scope["path"])[0] or "text/html"
        headers = [
            (b"content-type", f"{kind}; charset=utf-8".encode()),
            (b"content-length", str(len(content)).encode()),
            *SAFETY,
        ]
        shown = b"" if scope["method"] == "HEAD" else content
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": shown})
