"""A very fast MCP echo server for measuring what is in front of it: HTTP or stdio, both eras.

It checks nothing and costs a few microseconds a call, so the hub's own cost shows.
Run: python -m benchmarks.upstream --port 9101 [--tools 10]   or   --stdio
"""

import argparse
import asyncio
import sys
import time

import httptools
import orjson
import uvloop

MODERN = "2026-07-28"
INFO = {"name": "bench", "version": "1"}
ASKING = "ask"
"""A tool that has a question first. In the modern era only, which needs no stream for it."""
CAPABILITIES = {"tools": {}}


def tools(count: int, *, asking: bool = False) -> list[dict]:
    schema = {
        "type": "object",
        "properties": {"text": {"type": "string", "description": "What to echo."}},
        "required": ["text"],
    }
    names = ["echo", *(f"tool_{number}" for number in range(1, count))]
    names += [ASKING] if asking else []
    return [
        {"name": name, "description": f"Give the text back ({name}).", "inputSchema": schema}
        for name in names
    ]


def question(text: str) -> dict:
    """Ask for a form; the message tells when it was asked (nanoseconds since 1970) and by whom."""
    form = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}
    params = {"mode": "form", "message": f"{time.time_ns()} {text}", "requestedSchema": form}
    asked = {"word": {"method": "elicitation/create", "params": params}}
    return {"resultType": "input_required", "inputRequests": asked, "requestState": text}


def result_of(message: dict, listed: list[dict]) -> dict | None:
    params = message.get("params") or {}
    match message["method"]:
        case "tools/call":
            text = params["arguments"]["text"]
            if params["name"] == ASKING:
                answers = params.get("inputResponses")
                if answers is None:
                    return question(text)
                text = f"{text} {params['requestState']} {answers['word']['content']['word']}"
            return {"content": [{"type": "text", "text": text}], "isError": False}
        case "tools/list":
            return {"tools": listed, "ttlMs": 0, "cacheScope": "public"}
        case "initialize":
            return {
                "protocolVersion": params["protocolVersion"],
                "capabilities": CAPABILITIES,
                "serverInfo": INFO,
            }
        case "server/discover":
            return {
                "supportedVersions": [MODERN],
                "capabilities": CAPABILITIES,
                "ttlMs": 0,
                "cacheScope": "public",
            }
        case "ping":
            return {}
    return None


def answer(body: bytes, listed: list[dict]) -> bytes | None:
    """Give the JSON answer, None for a notification."""
    message = orjson.loads(body)
    if "id" not in message or "method" not in message:
        return None
    reply: dict = {"jsonrpc": "2.0", "id": message["id"]}
    result = result_of(message, listed)
    if result is None:
        reply["error"] = {"code": -32601, "message": "Method not found"}
    else:
        meta = (message.get("params") or {}).get("_meta") or {}
        modern = "io.modelcontextprotocol/protocolVersion" in meta
        reply["result"] = {"resultType": "complete", **result} if modern else result
    return orjson.dumps(reply)


class HttpEcho(asyncio.Protocol):
    def __init__(self, listed: list[dict]) -> None:
        self.listed = listed

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.body = b""

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        method, body, self.body = self.parser.get_method(), self.body, b""
        reply = answer(body, self.listed) if method == b"POST" else None
        if method == b"GET":
            head = b"HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n"
            self.transport.write(head)
        elif reply is None:
            self.transport.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")
        else:
            head = (
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
            )
            self.transport.write(head % len(reply) + reply)


async def serve_http(port: int, listed: list[dict]) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: HttpEcho(listed), "127.0.0.1", port)
    await server.serve_forever()


def serve_stdio(listed: list[dict]) -> None:
    out = sys.stdout.buffer
    for line in sys.stdin.buffer:
        reply = answer(line, listed)
        if reply is not None:
            out.write(reply + b"\n")
            out.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int)
    parser.add_argument("--stdio", action="store_true")
    parser.add_argument("--tools", type=int, default=10)
    parser.add_argument("--asking", action="store_true")
    options = parser.parse_args()
    listed = tools(options.tools, asking=options.asking)
    if options.stdio:
        serve_stdio(listed)
    else:
        uvloop.run(serve_http(options.port, listed))


if __name__ == "__main__":
    main()
