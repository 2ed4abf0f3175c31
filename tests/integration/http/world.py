"""A hub with a real database behind real sockets; only the MCP servers are played."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2
import uvicorn

from agenthub.adapters.inbound.gate import Gate, Receive, Scope, Send
from agenthub.adapters.inbound.http.app import RestFace
from agenthub.adapters.inbound.http.protocol import MAX_SOCKET_MESSAGE_BYTES, HeaderBoundProtocol
from agenthub.adapters.inbound.hub import Hub
from agenthub.adapters.inbound.mcp.face import McpFace
from agenthub.adapters.inbound.mcp.sealing import Sealer
from agenthub.adapters.inbound.web.static import Dashboard
from agenthub.adapters.outbound.clock.system import SystemClock, UlidFactory
from agenthub.adapters.outbound.event_bus.memory import MemoryEventBus
from agenthub.adapters.outbound.storage.engine import Database
from agenthub.adapters.outbound.storage.key_lookup import SqlKeyLookup
from agenthub.adapters.outbound.storage.unit_of_work import SqlUnitOfWork
from agenthub.domain.entities.catalog.listing import Catalog, Item, ItemKind
from agenthub.domain.entities.monitoring import Health
from agenthub.domain.entities.resilience.policy import GatewayPolicy
from agenthub.domain.ids import EndpointId
from agenthub.domain.services.announcer import Announcer
from agenthub.domain.services.calls import CallService
from agenthub.domain.services.catalog.definitions import DefinitionService
from agenthub.domain.services.catalog.views import CatalogService
from agenthub.domain.services.directory import Directory
from agenthub.domain.services.endpoints import EndpointService
from agenthub.domain.services.events import EventService
from agenthub.domain.services.groups import GroupService
from agenthub.domain.services.identity import IdentityService
from agenthub.domain.services.monitoring import UNWATCHED
from tests.fakes.clock import FakeChance
from tests.fakes.mcp_client import FakeMcpClient
from tests.fakes.secrets import FakeSecretBox
from tests.support.ports import free_port

TOKEN = "owner-token-of-the-tests"
SERVERS = "/api/mcp/servers"
ECHO = b'{"content":[{"type":"text","text":"ok"}],"isError":false}'


class RestWorld:
    """Enter it; `app` is the hub as uvicorn would serve it."""

    def __init__(self, folder: Path) -> None:
        self.clock = SystemClock()
        ids = UlidFactory(clock=self.clock)
        bus = MemoryEventBus()
        self.database = Database(url=f"sqlite:///{folder / 'hub.db'}")
        self.uow = SqlUnitOfWork(
            bus=bus, clock=self.clock, database=self.database, secrets=FakeSecretBox()
        )
        self.client = FakeMcpClient()
        self.directory = Directory()
        self.health: dict[EndpointId, Health] = {}
        self.announcer = Announcer(
            client=self.client, clock=self.clock, directory=self.directory, uow=self.uow
        )
        chance = FakeChance()
        identity = IdentityService(
            chance=chance,
            clock=self.clock,
            directory=self.directory,
            ids=ids,
            lookup=SqlKeyLookup(database=self.database),
            owner_token=TOKEN,
            uow=self.uow,
        )
        self.policy = GatewayPolicy()
        definitions = DefinitionService(
            client=self.client,
            clock=self.clock,
            directory=self.directory,
            policy_of=lambda endpoint_id, tool: self.policy,
            uow=self.uow,
        )
        catalog = CatalogService(
            client=self.client, definitions=definitions, directory=self.directory
        )
        self.hub = Hub(
            calls=CallService(catalog=catalog, client=self.client, call_timeout_s=5),
            catalog=catalog,
            definitions=definitions,
            endpoints=EndpointService(
                client=self.client,
                clock=self.clock,
                directory=self.directory,
                health_of=lambda endpoint_id: self.health.get(endpoint_id, UNWATCHED),
                ids=ids,
                settle_timeout_s=5,
                uow=self.uow,
            ),
            events=EventService(bus=bus, directory=self.directory, keep=10_000, uow=self.uow),
            groups=GroupService(
                clock=self.clock,
                directory=self.directory,
                identity=identity,
                ids=ids,
                uow=self.uow,
            ),
            identity=identity,
        )
        self.rest = RestFace(clock=self.clock, hub=self.hub, ids=ids, ping=self.database.ping)
        self.mcp = McpFace(
            hub=self.hub,
            sealer=Sealer(FakeSecretBox(), self.clock),
            clock=self.clock,
            chance=chance,
        )
        self.dashboard = Dashboard()
        self.app = Gate(
            self._route,
            hosts=["hub.example"],
            authenticator=identity,
            open_paths=self.dashboard.paths,
            origins=["https://app.example", "chrome-extension://friendfriend"],
        )
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.client.attach(self.hub.definitions)
        self.client.attach(self.announcer)
        self.client.attach(self.hub.catalog)
        hub = self.hub
        for resident in (self.database, hub.events, self.announcer, hub.definitions, self.mcp):
            await self._stack.enter_async_context(resident)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.rest.close()
        await self._stack.aclose()

    def offer(self, server_id: str) -> None:
        """Let a server offer one tool, resource, template and prompt."""
        definitions: dict[ItemKind, dict[str, Any]] = {
            ItemKind.TOOLS: {
                "name": "add_numbers",
                "description": "Adds two numbers.",
                "inputSchema": {"type": "object"},
            },
            ItemKind.RESOURCES: {"name": "notes", "uri": "demo://notes/a b"},
            ItemKind.TEMPLATES: {"name": "note", "uriTemplate": "demo://notes/{id}"},
            ItemKind.PROMPTS: {"name": "greet"},
        }
        keys = {
            ItemKind.TOOLS: "add_numbers",
            ItemKind.RESOURCES: "demo://notes/a b",
            ItemKind.TEMPLATES: "demo://notes/{id}",
            ItemKind.PROMPTS: "greet",
        }
        items = {kind: (Item(kind, keys[kind], definitions[kind]),) for kind in ItemKind}
        self.client.offer(EndpointId(server_id), Catalog(items))
        self.client.results |= {
            "tools/call": ECHO,
            "resources/read": b'{"contents":[]}',
            "prompts/get": b'{"messages":[]}',
            "completion/complete": b'{"completion":{"values":[]}}',
        }

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if scope["type"] == "http" and self.mcp.serves(path):
            await self.mcp(scope, receive, send)
        elif scope["type"] == "http" and path in self.dashboard.paths:
            await self.dashboard(scope, receive, send)
        else:
            await self.rest(scope, receive, send)


class QuietServer(uvicorn.Server):
    """uvicorn without signal handlers."""

    def __init__(self, app: Gate, port: int) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                port=port,
                http=HeaderBoundProtocol,
                ws="websockets-sansio",
                ws_max_size=MAX_SOCKET_MESSAGE_BYTES,
                lifespan="off",
                log_config=None,
                proxy_headers=False,
                timeout_graceful_shutdown=2,
            )
        )


@dataclass
class Served:
    """A world that listens, and a client with the owner's token."""

    world: RestWorld
    port: int
    http: httpx2.AsyncClient

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def register(self, name: str = "demo", **transport: Any) -> dict[str, Any]:
        given = transport or {"type": "streamable-http", "url": "http://127.0.0.1:9/mcp"}
        answer = await self.http.post(SERVERS, json={"name": name, "transport": given})
        assert answer.status_code == 201, answer.text
        self.world.offer(answer.json()["id"])
        return answer.json()

    async def key(self, *scopes: str, **more: Any) -> dict[str, Any]:
        body = {"name": "a key", "scopes": list(scopes), **more}
        answer = await self.http.post("/api/keys", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@asynccontextmanager
async def served(folder: Path) -> AsyncGenerator[Served]:
    """Serve a world on a free port of this machine."""

    port = free_port()
    async with RestWorld(folder) as world, asyncio.TaskGroup() as group:
        server = QuietServer(world.app, port)
        config = server.config
        config.load()
        server.lifespan = config.lifespan_class(config)
        await server.startup()
        loop = group.create_task(server.main_loop())
        try:
            async with httpx2.AsyncClient(
                base_url=f"http://127.0.0.1:{port}", headers=bearer(TOKEN), trust_env=False
            ) as client:
                yield Served(world, port, client)
        finally:
            world.rest.close()
            server.should_exit = True
            await loop
            await server.shutdown()


def body_of(problem: httpx2.Response) -> dict[str, Any]:
    """Insist on a problem and give its body."""
    assert problem.headers["content-type"] == "application/problem+json", problem.text
    body: dict[str, Any] = json.loads(problem.content)
    assert body["status"] == problem.status_code
    assert {"type", "title", "detail", "code"} <= body.keys()
    return body
