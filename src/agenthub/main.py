"""The hub as one ASGI application: the container's faces behind the gate. Nothing else."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from agenthub.adapters.inbound.gate import Gate, Receive, Scope, Send
from agenthub.adapters.inbound.http.app import RestFace
from agenthub.adapters.inbound.mcp.face import McpFace
from agenthub.adapters.inbound.web.static import Dashboard
from agenthub.config.lifespan import living
from agenthub.config.parts import build
from agenthub.config.settings import Settings


class Router:
    """Sends each path to its face; the faces are chosen by `scope["path"]` alone."""

    def __init__(self, *, dashboard: Dashboard, mcp: McpFace, rest: RestFace) -> None:
        self._dashboard = dashboard
        self._mcp = mcp
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if scope["type"] == "http" and self._mcp.serves(path):
            await self._mcp(scope, receive, send)
        elif scope["type"] == "http" and path in self._dashboard.paths:
            await self._dashboard(scope, receive, send)
        else:
            await self._rest(scope, receive, send)


class AgentHub:
    """The whole hub, built but not started. `alive` starts it; `app` serves it meanwhile."""

    def __init__(self, settings: Settings, owner_token: str) -> None:
        self.parts = build(settings, owner_token)
        self.hub = self.parts.hub
        dashboard = self.parts.dashboard
        self.app = Gate(
            Router(dashboard=dashboard, mcp=self.parts.mcp, rest=self.parts.rest),
            hosts=settings.allowed_hosts,
            authenticator=self.hub.identity,
            open_paths=dashboard.paths,
            origins=settings.allowed_origins,
        )

    @asynccontextmanager
    async def alive(self) -> AsyncGenerator[None]:
        """Start everything and begin to connect the servers; stop it all at the end."""
        for listener in self.parts.listeners:
            self.parts.client.attach(listener)
        async with living(self.parts.residents):
            await self.hub.policies.load()
            await self.hub.approvals.load()
            await self.hub.groups.load()
            await self.hub.endpoints.load()
            self.hub.policies.warn()
            await self.hub.instances.load()
            await self.hub.held.load()
            try:
                yield
            finally:
                self.hub.held.stop()

    def stop_streams(self) -> None:
        """Be no longer ready, and end every open stream, so that the server can stop at once."""
        self.hub.held.stop()
        self.parts.rest.close()
        self.parts.mcp.close()
