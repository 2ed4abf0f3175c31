"""A hub with a real database behind real sockets; only the MCP servers and the model are played."""

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
from dependency_injector import providers

from agenthub.adapters.inbound.gate import Gate
from agenthub.adapters.inbound.http.protocol import MAX_SOCKET_MESSAGE_BYTES, HeaderBoundProtocol
from agenthub.config.container import AgentHubContainer
from agenthub.config.settings import HitlSettings, LlmSettings, Settings
from agenthub.domain.entities.catalog.listing import Catalog, Item, ItemKind
from agenthub.domain.entities.cost import Tokens
from agenthub.domain.entities.monitoring import Health
from agenthub.domain.ids import EndpointId
from agenthub.domain.ports.outbound.llm import ModelChunk
from agenthub.domain.services.monitoring import UNWATCHED
from agenthub.main import AgentHub
from tests.fakes.llm import FakeLlm
from tests.fakes.mcp_client import FakeMcpClient
from tests.fakes.secrets import FakeSecretBox
from tests.support.ports import free_port

TOKEN = "owner-token-of-the-tests"
SERVERS = "/api/mcp/servers"
LAST_WORD = ModelChunk(finish_reason="stop", tokens=Tokens(prompt=3, completion=1))
ECHO = b'{"content":[{"type":"text","text":"ok"}],"isError":false}'


class RestWorld:
    """Enter it; `app` is the hub as uvicorn would serve it. `health` is what probes would find."""

    def __init__(self, folder: Path, hitl: HitlSettings | None = None) -> None:
        self.client = FakeMcpClient()
        self.llm = FakeLlm([ModelChunk(text="Hello."), LAST_WORD])
        self.health: dict[EndpointId, Health] = {}
        settings = Settings(
            data_dir=folder,
            allowed_hosts=("hub.example",),
            allowed_origins=("https://app.example", "chrome-extension://friendfriend"),
            hitl=hitl or HitlSettings(),
            llm=LlmSettings(model="openai/gpt-5.5"),
        )
        played = providers.Object(self.client)
        boxed = providers.Object(FakeSecretBox())
        outbound = AgentHubContainer.outbound
        with (
            outbound.mcp_client.override(played),
            outbound.llm.override(providers.Object(self.llm)),
            outbound.secrets.override(boxed),
        ):
            hub = AgentHub(settings, TOKEN)
        self.parts = hub.parts
        self.hub = hub.hub
        self.app = hub.app
        self.rest = self.parts.rest
        self.uow = self.parts.uow
        # Probing takes its time; what it would find is said by the test.
        self.hub.endpoints._health_of = lambda endpoint_id: self.health.get(endpoint_id, UNWATCHED)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for listener in self.parts.listeners:
            self.client.attach(listener)
        for resident in self.parts.residents:
            if resident is not self.client and resident is not self.llm:
                await self._stack.enter_async_context(resident)
        await self.hub.approvals.load()
        await self.hub.held.load()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.hub.held.stop()
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
async def served(folder: Path, hitl: HitlSettings | None = None) -> AsyncGenerator[Served]:
    """Serve a world on a free port of this machine."""

    port = free_port()
    async with RestWorld(folder, hitl) as world, asyncio.TaskGroup() as group:
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
            world.hub.held.stop()
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
