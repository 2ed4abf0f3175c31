"""Requests written byte by byte, and what must hold for every answer to an attack.

No client library stands between the test and the hub: it would mend what the attack breaks.
"""

import http.client
import json
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.hub_process import HubProcess

ANSWER_TIMEOUT_S = 20.0
MODERN = "2026-07-28"
META = "io.modelcontextprotocol/"
ACCEPT = "application/json, text/event-stream"
TRACES = (b"Traceback", b'File "', b"site-packages")

Json = dict[str, Any]
Head = list[tuple[str, str]] | tuple[()]


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer, its headers in the order they came."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)

    def json(self) -> Any:
        return json.loads(self.body)

    def message(self) -> Json:
        """The JSON-RPC message that ends the answer, from JSON or from an event stream."""
        if "event-stream" not in (self.header("content-type") or ""):
            return self.json()
        lines = [line for line in self.body.decode().splitlines() if line.startswith("data:")]
        messages = [json.loads(line[5:]) for line in lines if line[5:].strip()]
        return next(message for message in messages if "method" not in message)


class Target:
    """A running hub under attack; every answer it gives is checked to be sound.

    `secrets` are words that may stand in no answer and no log line.
    """

    def __init__(self, hub: HubProcess, secrets: Iterable[str] = ()) -> None:
        self.hub = hub
        self.secrets = {hub.token, *secrets}
        self._log_read = 0

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = "",
        headers: Head | Mapping[str, str] = (),
        may_fail: bool = False,
        shows: str = "",
    ) -> Reply:
        """Send one request. The owner's token goes along; `token` is another, None for none.

        A body that is not bytes is sent as JSON. `may_fail` admits a 502, which says that a
        server behind the hub failed; `shows` is the one secret that this answer may hold.
        """
        given = list(headers) if isinstance(headers, list | tuple) else list(headers.items())
        names = {name.lower() for name, _ in given}
        lines = [f"{method} {path} HTTP/1.1"]
        if "host" not in names:
            lines.append(f"Host: 127.0.0.1:{self.hub.port}")
        if token is not None and "authorization" not in names:
            lines.append(f"Authorization: Bearer {token or self.hub.token}")
        payload = b""
        if body is not None:
            payload = body if isinstance(body, bytes) else json.dumps(body).encode()
            if "content-type" not in names:
                lines.append("Content-Type: application/json")
            if not names & {"content-length", "transfer-encoding"}:
                lines.append(f"Content-Length: {len(payload)}")
        lines += [f"{name}: {value}" for name, value in given]
        lines.append("Connection: close")
        raw = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + payload
        return self.send(raw, method=method, may_fail=may_fail, shows=shows)

    def send(
        self, raw: bytes, *, method: str = "GET", may_fail: bool = False, shows: str = ""
    ) -> Reply:
        """Send these bytes and read one answer."""
        with self.connect() as sock:
            try:
                sock.sendall(raw)
            except OSError:
                pass  # the hub may answer and hang up before it has read everything
            reply = read_reply(sock, method)
        self.assert_sound(reply, may_fail=may_fail, shows=shows)
        return reply

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.hub.port), ANSWER_TIMEOUT_S)

    def modern(
        self,
        method: str,
        params: Json | None = None,
        *,
        path: str = "/mcp",
        token: str | None = "",
        capabilities: Json | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Reply:
        """Send an MCP request of 2026-07-28; `headers` replaces single ones, `body` all of it."""
        params = params or {}
        meta = {f"{META}protocolVersion": MODERN, f"{META}clientCapabilities": capabilities or {}}
        message = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": method,
            "params": {**params, "_meta": {**meta, **params.get("_meta", {})}},
        }
        sent = {"Accept": ACCEPT, "MCP-Protocol-Version": MODERN, "Mcp-Method": method}
        named = params.get("uri" if method == "resources/read" else "name")
        if isinstance(named, str):
            sent["Mcp-Name"] = named
        sent |= headers or {}
        return self.ask("POST", path, body or message, token=token, headers=sent)

    def call(self, tool: str, arguments: Json, **how: Any) -> Json:
        """Call a tool as a modern agent; gives the JSON-RPC message."""
        return self.modern("tools/call", {"name": tool, "arguments": arguments}, **how).message()

    def key(self, *scopes: str, group: str | None = None, **more: object) -> str:
        """Make an API key, remember its secret as one that must not be seen, and give it."""
        body = {"name": "attacker", "scopes": list(scopes), "group": group, **more}
        raw = self.hub.rest("POST", "/api/keys", body)
        assert raw.status == 201, raw
        secret: str = raw.body["secret"]
        self.secrets.add(secret)
        return secret

    def assert_sound(self, reply: Reply, *, may_fail: bool = False, shows: str = "") -> None:
        """No 5xx, no trace of the code, no secret."""
        assert reply.status < 500 or (may_fail and reply.status == 502), reply
        everything = reply.body + repr(reply.headers).encode()
        assert not any(trace in everything for trace in TRACES), reply
        self._assert_no_secret(everything, shows)

    def assert_log_is_sound(self) -> None:
        """The same for what the hub has logged since the last look."""
        log = self.hub.log().encode()
        fresh, self._log_read = log[self._log_read :], len(log)
        assert b"Traceback" not in fresh, fresh.decode(errors="replace")
        self._assert_no_secret(fresh)

    def _assert_no_secret(self, text: bytes, shows: str = "") -> None:
        for secret in self.secrets - {shows}:
            assert secret.encode() not in text, f"a secret shows: {secret[:12]}... in {text[:2000]}"


def read_reply(sock: socket.socket, method: str = "GET") -> Reply:
    """Read one answer. A connection that ends without one is an AssertionError."""
    response = http.client.HTTPResponse(sock, method=method)
    try:
        response.begin()
        body = response.read()
    except (http.client.HTTPException, OSError) as error:
        raise AssertionError(f"no answer: {error!r}") from error
    return Reply(response.status, tuple(response.headers.items()), body)


def modern_call(params: Json) -> Json:
    """A call of 2026-07-28, as a message."""
    meta = {f"{META}protocolVersion": MODERN, f"{META}clientCapabilities": {}}
    params = {**params, "_meta": meta}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


def refused(message: Json) -> bool:
    """Say whether a JSON-RPC answer of tools/call is no success."""
    return "error" in message or bool(message["result"].get("isError"))


def text_of(message: Json) -> str:
    """The text of a successful tools/call."""
    assert not refused(message), message
    text: str = message["result"]["content"][0]["text"]
    return text
