"""The floor: uvicorn and aiohttp forwarding a message with a new id and name, and nothing else.

No authentication, no check, no session, no catalogue. What the hub costs above this is its own.
Run: python -m benchmarks.bare --port 9102 --upstream http://127.0.0.1:9101/mcp
"""

import argparse
from itertools import count
from typing import Any

import aiohttp
import orjson
import uvicorn


class Bare:
    """An ASGI application."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._numbers = count(1)
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] != "POST":
            await _answer(send, b"{}")
            return
        body = b""
        while True:
            part = await receive()
            body += part["body"]
            if not part["more_body"]:
                break
        message = orjson.loads(body)
        agents_id = message.get("id")
        message["id"] = next(self._numbers)
        if "name" in (message.get("params") or {}):
            message["params"]["name"] = message["params"]["name"].split("__")[-1]
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0)
            self._session = aiohttp.ClientSession(connector=connector)
        headers = {
            name.decode(): value.decode()
            for name, value in scope["headers"]
            if name.startswith(b"mcp-") or name in (b"content-type", b"accept")
        }
        data = orjson.dumps(message)
        async with self._session.post(self._upstream, data=data, headers=headers) as response:
            raw = await response.read()
        if raw:
            reply = orjson.loads(raw)
            reply["id"] = agents_id
            raw = orjson.dumps(reply)
        await _answer(send, raw, response.status)


async def _answer(send: Any, body: bytes, status: int = 200) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True)
    options = parser.parse_args()
    uvicorn.run(
        Bare(options.upstream),
        port=options.port,
        lifespan="off",
        log_level="error",
        access_log=False,
        loop="uvloop",
        http="httptools",
    )


if __name__ == "__main__":
    main()
