"""The hub as a person runs it: a real process, reached over HTTP only.

with HubProcess(tmp_path / "hub") as hub:
    hub.register("time", {"type": "stdio", "command": "mcp-server-time"})
    client(hub.url("/mcp"), headers=hub.headers)
"""

import http.client
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from tests.support.child import ChildProcess
from tests.support.ports import free_port

OWNER_TOKEN = "owner-token-of-the-tests-0123456789abcdef"
REST_TIMEOUT_S = 60.0

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RestAnswer:
    """Status and body of one REST call; `body` is None where the hub sent none."""

    status: int
    body: Any
    headers: Mapping[str, str]


class HubConnection:
    """A running hub, reached with a token."""

    def __init__(self, base_url: str, token: str) -> None:
        self.token = token
        self._base = urlsplit(base_url)

    @property
    def headers(self) -> dict[str, str]:
        """What every client of the hub has to send."""
        return {"Authorization": f"Bearer {self.token}"}

    def url(self, path: str = "") -> str:
        return self._base.geturl() + path

    def rest(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = REST_TIMEOUT_S,
    ) -> RestAnswer:
        """One REST call with the token; `headers` replaces the default ones."""
        sent = dict(self.headers if headers is None else headers)
        payload = None
        if body is not None:
            payload = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection(self._base.netloc, timeout=timeout_s)
        try:
            connection.request(method, path, body=payload, headers=sent)
            response = connection.getresponse()
            raw = response.read()
            is_json = "json" in response.headers.get("Content-Type", "")
            parsed: Any = json.loads(raw) if raw and is_json else raw.decode() or None
            return RestAnswer(response.status, parsed, dict(response.headers.items()))
        finally:
            connection.close()

    def register(self, name: str, transport: Json, **fields: object) -> Json:
        """Register a server and insist that the hub reached it; returns the hub's record of it."""
        body = {"name": name, "transport": transport, **fields}
        answer = self.rest("POST", "/api/mcp/servers?verify=true", body)
        assert answer.status == 201, f"{name}: {answer.status} {answer.body}"
        record: Json = answer.body
        return record

    def register_stdio(
        self, name: str, *command: str, env: Mapping[str, str] | None = None, **fields: object
    ) -> Json:
        transport: Json = {"type": "stdio", "command": command[0], "args": list(command[1:])}
        if env:
            transport["env"] = dict(env)
        return self.register(name, transport, **fields)

    def register_http(self, name: str, url: str, **fields: object) -> Json:
        return self.register(name, {"type": "streamable-http", "url": url}, **fields)

    def unregister(self, name: str) -> None:
        answer = self.rest("DELETE", f"/api/mcp/servers/{quote(name)}")
        assert answer.status in (200, 204), f"{name}: {answer.status} {answer.body}"


class HubProcess(HubConnection, ChildProcess):
    """`agenthub serve` on a free loopback port, with its data in `data_dir`.

    `env` adds to the environment; other AGENTHUB_ variables of the caller are not passed on. The
    data dir outlives the process: `stop()` or `kill()` and `start()` again is a restart.
    `launcher` is a module of the tests that plants something and then runs the hub.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        env: Mapping[str, str] | None = None,
        ready_timeout_s: float = 30.0,
        token: str = OWNER_TOKEN,
        launcher: str = "agenthub",
    ) -> None:
        self.data_dir = data_dir
        self.port = port or free_port()
        HubConnection.__init__(self, f"http://127.0.0.1:{self.port}", token)
        inherited = {name: v for name, v in os.environ.items() if not name.startswith("AGENTHUB_")}
        serve = ["serve", "--port", str(self.port), "--data-dir", str(data_dir)]
        ChildProcess.__init__(
            self,
            [sys.executable, "-m", launcher, *serve],
            log_path=data_dir.with_name(data_dir.name + ".log"),
            is_ready=self._answers_readyz,
            env={**inherited, "AGENTHUB_OWNER_TOKEN": token, **(env or {})},
            ready_timeout_s=ready_timeout_s,
        )

    def _answers_readyz(self) -> bool:
        try:
            return self.rest("GET", "/readyz", headers={}, timeout_s=2.0).status == 200
        except OSError:
            return False
