"""A hub of fakes behind a real MCP face, and agents of both eras that talk to it over ASGI."""

import asyncio
import hashlib
import itertools
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

from agenthub.adapters.inbound.hub import Hub
from agenthub.adapters.inbound.mcp.face import McpFace
from agenthub.adapters.inbound.mcp.sealing import Sealer
from agenthub.adapters.inbound.mcp.wire import Limits
from agenthub.domain.entities.catalog.listing import Catalog, Item, ItemKind
from agenthub.domain.entities.endpoints import Endpoint, Era, HttpTransport
from agenthub.domain.entities.identity import ALL_SCOPES, OWNER, ApiKey, Principal, Scope
from agenthub.domain.exceptions import NotFoundError
from agenthub.domain.ids import DEFAULT_WORKSPACE, EndpointId, KeyId
from agenthub.domain.ports.outbound.secrets import SealBrokenError, SecretBox
from agenthub.domain.services.catalog.views import CatalogService
from agenthub.domain.services.directory import Directory
from agenthub.domain.services.identity import IdentityService
from tests.fakes.mcp_client import READY, FakeMcpClient
from tests.support.calling import calls_over
from tests.unit.adapters.inbound.mcp.asgi import Visit, http
from tests.unit.adapters.inbound.mcp.held import FakeHeldCalls
from tests.unit.adapters.inbound.mcp.ports import CountingChance, SteppedClock

AT = datetime(2026, 11, 21, tzinfo=UTC)
META = "io.modelcontextprotocol/"
MODERN = "2026-07-28"
OK = b'{"content":[{"type":"text","text":"ok"}]}'
FORM = b'{"message":"Name?","requestedSchema":{"type":"object","properties":{}}}'


class GlassBox(SecretBox):
    """Seals so that a test can see through, but not alter."""

    def seal(self, plain: bytes, *, context: str) -> bytes:
        return hashlib.sha256(context.encode() + plain).digest() + plain

    def open(self, sealed: bytes, *, context: str) -> bytes:
        digest, plain = sealed[:32], sealed[32:]
        if digest != hashlib.sha256(context.encode() + plain).digest():
            raise SealBrokenError
        return plain


class FakeIdentity(IdentityService):
    """Knows every key that was not revoked."""

    def __init__(self) -> None:
        self.revoked: set[str] = set()

    async def find(self, principal: Principal, key_id: str) -> ApiKey:
        principal.require(Scope.ADMIN)
        if key_id in self.revoked:
            raise NotFoundError("There is no such key.")
        return ApiKey(
            id=KeyId(key_id),
            workspace=principal.workspace,
            name=key_id,
            prefix="",
            secret_sha256="",
            scopes=ALL_SCOPES,
            group=None,
            created_at=AT,
            expires_at=None,
        )


class World:
    """Enter it, add servers, then let agents talk."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.client = FakeMcpClient()
        self.clock = SteppedClock()
        self.identity = FakeIdentity()
        self.directory = Directory()
        self.catalog = CatalogService(client=self.client, directory=self.directory)
        self.client.attach(self.catalog)
        calls = calls_over(self.client, self.directory, self.catalog, timeout_s=5)
        self.held = FakeHeldCalls(calls)
        rest: dict[str, Any] = dict.fromkeys(
            field.name
            for field in fields(Hub)
            if field.name not in ("calls", "catalog", "held", "identity")
        )
        self.face = McpFace(
            hub=Hub(
                calls=calls, catalog=self.catalog, held=self.held, identity=self.identity, **rest
            ),
            sealer=Sealer(GlassBox(), self.clock),
            clock=self.clock,
            chance=CountingChance(),
            limits=limits or Limits(),
        )
        self._ids = itertools.count(1)
        self.group = asyncio.TaskGroup()

    async def __aenter__(self) -> "World":
        await self.group.__aenter__()
        await self.face.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self.face.__aexit__(None, None, None)
        await self.group.__aexit__(None, None, None)

    async def add(self, name: str, *eras: Era, tools: tuple[str, ...] = ("echo",)) -> EndpointId:
        """Add a server that offers `tools`, a resource and a prompt, in both eras by default."""
        endpoint_id = EndpointId(f"endpoint-{name}")
        endpoint = Endpoint(
            id=endpoint_id,
            workspace=DEFAULT_WORKSPACE,
            name=name,
            transport=HttpTransport(url=f"http://{name}.test/mcp"),
            created_at=AT,
            updated_at=AT,
        )
        self.client.fates[endpoint_id] = replace(READY, eras=eras or tuple(Era))
        await self.client.connect(endpoint)
        self.directory.put_endpoint(endpoint)
        self.offer(endpoint_id, *tools)
        return endpoint_id

    def offer(self, endpoint_id: EndpointId, *tools: str) -> None:
        items = {
            ItemKind.TOOLS: tuple(
                Item(ItemKind.TOOLS, name, {"name": name, "inputSchema": {"type": "object"}})
                for name in tools
            ),
            ItemKind.RESOURCES: (
                Item(ItemKind.RESOURCES, "demo://a", {"uri": "demo://a", "name": "a"}),
            ),
            ItemKind.PROMPTS: (Item(ItemKind.PROMPTS, "greet", {"name": "greet"}),),
        }
        self.client.offer(endpoint_id, Catalog(items))

    def visit(self, method: str, path: str, **how: Any) -> Visit:
        """Send any HTTP request."""
        return http(self.face, method, path, **how).start(self.group)

    def post(self, body: Any, path: str = "/mcp", **how: Any) -> Visit:
        how.setdefault("content_type", "application/json")
        how.setdefault("accept", "application/json, text/event-stream")
        return self.visit("POST", path, body=body, **how)

    def next_id(self) -> int:
        return next(self._ids)

    def modern(
        self,
        method: str,
        params: dict[str, Any] | None = None,
        *,
        path: str = "/mcp",
        capabilities: dict[str, Any] | None = None,
        meta: dict[str, Any] | None = None,
        message_id: Any = None,
        **how: Any,
    ) -> Visit:
        """Send a request of 2026-07-28, headers and all."""
        params = params or {}
        whole = {
            f"{META}protocolVersion": MODERN,
            f"{META}clientCapabilities": capabilities or {},
            **(meta or {}),
        }
        body = {
            "jsonrpc": "2.0",
            "id": self.next_id() if message_id is None else message_id,
            "method": method,
            "params": {**params, "_meta": whole},
        }
        headers = {"mcp_protocol_version": MODERN, "mcp_method": method}
        named = params.get("uri" if method == "resources/read" else "name")
        if method in ("tools/call", "prompts/get", "resources/read") and named is not None:
            headers["mcp_name"] = named
        return self.post(body, path, **{**headers, **how})

    async def legacy(
        self,
        capabilities: dict[str, Any] | None = None,
        *,
        path: str = "/mcp",
        version: str = "2025-11-25",
        principal: Principal = OWNER,
    ) -> "LegacyAgent":
        """Open a session."""
        params = {
            "protocolVersion": version,
            "capabilities": capabilities or {},
            "clientInfo": {"name": "test", "version": "1"},
        }
        visit = self.post(
            {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params},
            path,
            principal=principal,
        )
        agent = LegacyAgent(self, path, principal)
        agent.hello = (await visit.json())["result"]
        agent.session_id = visit.headers["mcp-session-id"]
        return agent


class LegacyAgent:
    """An agent with a session."""

    def __init__(self, world: World, path: str, principal: Principal) -> None:
        self._world = world
        self._path = path
        self._principal = principal
        self.session_id = ""
        self.hello: dict[str, Any] = {}

    def send(self, message: dict[str, Any], **how: Any) -> Visit:
        how = {"mcp_session_id": self.session_id, "principal": self._principal, **how}
        return self._world.post({"jsonrpc": "2.0", **message}, self._path, **how)

    def request(
        self, method: str, params: dict[str, Any] | None = None, *, message_id: Any = None
    ) -> Visit:
        message_id = self._world.next_id() if message_id is None else message_id
        return self.send({"id": message_id, "method": method, "params": params or {}})

    def call(self, name: str, *, message_id: Any = None, **params: Any) -> Visit:
        return self.request("tools/call", {"name": name, **params}, message_id=message_id)

    async def notify(self, method: str, params: dict[str, Any] | None = None) -> int:
        visit = self.send({"method": method, "params": params or {}})
        await visit.body()
        return visit.status

    async def answer(self, question: dict[str, Any], result: dict[str, Any]) -> int:
        visit = self.send({"id": question["id"], "result": result})
        await visit.body()
        return visit.status

    def listen(self) -> Visit:
        return self._world.visit(
            "GET",
            self._path,
            accept="text/event-stream",
            mcp_session_id=self.session_id,
            principal=self._principal,
        )
