"""A stdio MCP server that fails on command. Run by path with `python -I -S`: standard library only.

    python -I -S faulty_stdio.py MARKER MODE_FILE ERAS

MARKER only serves to find the process. MODE_FILE holds one word of the modes below; it is read at
the start and before each call, so that the fault can be switched while the server runs.
"""

import heapq
import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

LONGEST_WORK_S = 0.02
INFO = {"name": "faulty-stdio", "version": "1.0.0"}
VERSION_META = "io.modelcontextprotocol/protocolVersion"
TOOL = {
    "name": "echo",
    "description": "Says the message back",
    "inputSchema": {
        "type": "object",
        "properties": {"message": {"type": "string"}},
        "required": ["message"],
    },
}


class FaultyServer:
    """Answers calls in random order; everything else at once."""

    def __init__(self, marker: str, mode_file: Path, eras: str) -> None:
        self._marker = marker
        self._mode_file = mode_file
        self._eras = eras
        self._due: list[tuple[float, bytes]] = []

    def run(self) -> None:
        self.start()
        buffer = b""
        while True:
            wait_s = max(0.0, self._due[0][0] - time.monotonic()) if self._due else None
            readable, _, _ = select.select([0], [], [], wait_s)
            while self._due and self._due[0][0] <= time.monotonic():
                write(heapq.heappop(self._due)[1])
            if not readable:
                continue
            chunk = os.read(0, 65_536)
            if not chunk:
                self.end_of_input()
                return
            *lines, buffer = (buffer + chunk).split(b"\n")
            for line in lines:
                if line.strip():
                    self.take(json.loads(line))

    def mode(self) -> str:
        return self._mode_file.read_text().strip()

    def start(self) -> None:
        mode = self.mode()
        if mode == "exit-at-start":
            print("no configuration found in /nowhere", file=sys.stderr)
            sys.exit(7)
        if mode in ("stubborn", "stubborn-family"):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if mode in ("grandchild", "stubborn-family"):
            self.spawn()

    def spawn(self) -> None:
        """Leave a process that knows nothing of stdin and keeps our stdout open."""
        code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
        command = [sys.executable, "-I", "-S", "-c", code, self._marker, "grandchild"]
        subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def end_of_input(self) -> None:
        while self.mode() in ("stubborn", "stubborn-family"):
            time.sleep(0.2)

    def take(self, message: dict[str, Any]) -> None:
        method, number = message.get("method", ""), message.get("id")
        if number is None:
            return
        params: dict[str, Any] = message.get("params") or {}
        is_modern = VERSION_META in (params.get("_meta") or {})
        if self.mode() == "hang":
            return
        if method == "tools/call":
            self.call(number, params, is_modern)
            return
        result = self.result(method, is_modern)
        if result is None:
            error = {"code": -32601, "message": "Method not found"}
            write(frame({"jsonrpc": "2.0", "id": number, "error": error}))
        else:
            self.reply(number, result, is_modern)

    def result(self, method: str, is_modern: bool) -> dict[str, Any] | None:
        speaks = self._eras in ("both", "modern" if is_modern else "legacy")
        if not speaks:
            return None
        caching = {"ttlMs": 60_000, "cacheScope": "public"} if is_modern else {}
        if method == "tools/list":
            return {"tools": [TOOL], **caching}
        if is_modern and method == "server/discover":
            return {
                "supportedVersions": ["2026-07-28"],
                "capabilities": {"tools": {}},
                "_meta": {"io.modelcontextprotocol/serverInfo": INFO},
                **caching,
            }
        if method == "initialize":
            version = "2025-11-25"
            return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": INFO}
        return {} if method == "ping" else None

    def call(self, number: object, params: dict[str, Any], is_modern: bool) -> None:
        mode = self.mode()
        if mode == "crash":
            os._exit(3)
        if mode == "crash-leaving-child":
            self.spawn()
            os._exit(3)
        if mode == "flood":
            while True:
                write(b"x" * 65_536)
        if mode == "bad-utf8":
            write(
                b'{"jsonrpc":"2.0","id":%s,"result":{"t":"\xff\xfe"}}\n'
                % json.dumps(number).encode()
            )
            return
        if mode == "banner":
            write(b"Listening on stdin ...\n\n{not json\n")
        text = params["arguments"]["message"]
        result = {"content": [{"type": "text", "text": text}]}
        due_at = time.monotonic() + random.random() * LONGEST_WORK_S
        heapq.heappush(self._due, (due_at, frame(self.full(number, result, is_modern))))

    def reply(self, number: object, result: dict[str, Any], is_modern: bool) -> None:
        write(frame(self.full(number, result, is_modern)))

    def full(self, number: object, result: dict[str, Any], is_modern: bool) -> dict[str, Any]:
        more = {"resultType": "complete"} if is_modern else {}
        return {"jsonrpc": "2.0", "id": number, "result": {**result, **more}}


def frame(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    FaultyServer(sys.argv[1], Path(sys.argv[2]), sys.argv[3]).run()
