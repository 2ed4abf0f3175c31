"""A load generator that checks every answer; prints one JSON object.

Run: python -m benchmarks.load --url http://127.0.0.1:8000/mcp --token T --era legacy \
        --method tools/call --tool demo__greet --concurrency 16 --requests 5000
"""

import argparse
import asyncio
import json
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httptools
import orjson
import uvloop

MODERN = "2026-07-28"
LEGACY = "2025-11-25"
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


@dataclass
class Job:
    url: str
    token: str | None
    era: str
    method: str
    tools: list[str]
    concurrency: int
    requests: int
    latencies: list[float] = field(default_factory=list)


class Connection(asyncio.Protocol):
    """One keep-alive connection with one request at a time."""

    done: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        if self.done is not None and not self.done.done():
            self.done.set_result(self.body)

    def connection_lost(self, error: Exception | None) -> None:
        if self.done is not None and not self.done.done():
            self.done.set_exception(ConnectionError("connection lost"))

    async def exchange(self, head: bytes, body: bytes) -> bytes:
        self.parser = httptools.HttpResponseParser(self)
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.done = asyncio.get_running_loop().create_future()
        self.transport.write(head + b"content-length: %d\r\n\r\n" % len(body) + body)
        answer = await self.done
        if self.headers.get(b"content-type", b"").startswith(b"text/event-stream"):
            lines = answer.splitlines()
            answer = next(line[5:] for line in reversed(lines) if line.startswith(b"data:"))
        return answer


class Agent:
    """One agent: a connection, its headers, its session."""

    def __init__(self, job: Job, number: int) -> None:
        self.job = job
        self.number = number
        parts = urlsplit(job.url)
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 80
        self.base = f"POST {parts.path} HTTP/1.1\r\nhost: {self.host}:{self.port}\r\n"
        self.base += "content-type: application/json\r\n"
        self.base += "accept: application/json, text/event-stream\r\n"
        if job.token:
            self.base += f"authorization: Bearer {job.token}\r\n"

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        _, self.connection = await loop.create_connection(Connection, self.host, self.port)
        self.extra = ""
        if self.job.era == "legacy":
            await self._initialize()

    async def _initialize(self) -> None:
        params = {
            "protocolVersion": LEGACY,
            "capabilities": {},
            "clientInfo": {"name": "bench", "version": "1"},
        }
        body = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
        await self.connection.exchange(self.base.encode(), orjson.dumps(body))
        session = self.connection.headers.get(b"mcp-session-id")
        if session:
            self.extra = f"mcp-session-id: {session.decode()}\r\n"
        self.extra += f"mcp-protocol-version: {LEGACY}\r\n"
        done = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        await self.connection.exchange((self.base + self.extra).encode(), orjson.dumps(done))

    async def send(self, method: str, tool: str, text: str, number: int) -> bytes:
        """Send one request and give the message that answers it, unread."""
        call = method == "tools/call"
        params: dict = {"name": tool, "arguments": {"text": text}} if call else {}
        head = self.base + self.extra
        if self.job.era == "modern":
            params["_meta"] = META
            head += f"mcp-protocol-version: {MODERN}\r\nmcp-method: {method}\r\n"
            head += f"mcp-name: {tool}\r\n" if call else ""
        body = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        return await self.connection.exchange(head.encode(), orjson.dumps(body))

    async def request(self, number: int) -> None:
        job = self.job
        text = f"hello {self.number} {number}"
        tool = job.tools[number % len(job.tools)]
        began = time.perf_counter()
        answer = await self.send(job.method, tool, text, number)
        job.latencies.append(time.perf_counter() - began)
        if job.method == "tools/call":
            message = orjson.loads(answer)
            if message["id"] != number or message["result"]["content"][0]["text"] != text:
                raise AssertionError(f"crossed or wrong answer: {answer[:300]!r}")
        elif b'"tools":[{' not in answer[:200].replace(b" ", b"") and b'"tools"' not in answer:
            raise AssertionError(f"no list: {answer[:300]!r}")


async def run(job: Job) -> dict:
    agents = [Agent(job, number) for number in range(job.concurrency)]
    for agent in agents:
        await agent.open()
    share = max(1, job.requests // job.concurrency)

    async def work(agent: Agent, count: int) -> None:
        for number in range(1, count + 1):
            await agent.request(number)

    await asyncio.gather(*(work(agent, max(1, share // 10)) for agent in agents))
    job.latencies.clear()
    print("READY", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, input)
    began = time.perf_counter()
    await asyncio.gather(*(work(agent, share) for agent in agents))
    seconds = time.perf_counter() - began
    took = sorted(job.latencies)
    return {
        "requests": len(took),
        "per_s": round(len(took) / seconds),
        "p50_ms": round(took[len(took) // 2] * 1e3, 3),
        "p99_ms": round(took[int(len(took) * 0.99)] * 1e3, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--token")
    parser.add_argument("--era", choices=("legacy", "modern"), default="modern")
    parser.add_argument("--method", default="tools/call")
    parser.add_argument("--tool", action="append", required=True)
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--requests", type=int, default=3000)
    options = parser.parse_args()
    job = Job(
        options.url,
        options.token,
        options.era,
        options.method,
        options.tool,
        options.concurrency,
        options.requests,
    )
    print(json.dumps(uvloop.run(run(job))))


if __name__ == "__main__":
    main()
