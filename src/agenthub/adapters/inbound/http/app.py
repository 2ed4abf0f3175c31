"""The REST face: one application from one hub."""

from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import HTMLResponse

from agenthub.adapters.inbound.gate import Receive, Scope, Send
from agenthub.adapters.inbound.http import problems
from agenthub.adapters.inbound.http.bodies import StrictBodies
from agenthub.adapters.inbound.http.dependencies import Reader, Surroundings
from agenthub.adapters.inbound.http.docs_page import docs_page
from agenthub.adapters.inbound.http.metrics import Counters, Counting
from agenthub.adapters.inbound.http.openapi import describe
from agenthub.adapters.inbound.http.problems import SafetyNet
from agenthub.adapters.inbound.http.routes import (
    approval_policies,
    approvals,
    budgets,
    costs,
    definitions,
    elicitation,
    events,
    gateway,
    groups,
    health,
    instances,
    keys,
    models,
    notices,
    policies,
    sampling,
    servers,
    tickets,
    tools,
)
from agenthub.adapters.inbound.http.sse import Closing
from agenthub.adapters.inbound.hub import Hub
from agenthub.domain.ports.outbound.clock import Clock, IdFactory

ROUTERS = (
    servers.router,
    instances.router,
    definitions.router,
    tools.router,
    tools.catalog_router,
    tickets.router,
    elicitation.router,
    sampling.router,
    sampling.rules_router,
    approvals.router,
    approval_policies.router,
    groups.router,
    costs.router,
    budgets.router,
    gateway.router,
    policies.router,
    models.router,
    keys.router,
    notices.router,
    events.router,
    health.router,
)


class RestFace:
    """An ASGI application for everything but MCP and the dashboard; the gate stands before it."""

    def __init__(
        self, *, clock: Clock, hub: Hub, ids: IdFactory, ping: Callable[[], Awaitable[None]]
    ) -> None:
        self._closing = Closing()
        counters = Counters()
        self.app = build_app(Surroundings(hub, clock, self._closing, counters, ping))
        self.app.add_middleware(SafetyNet, ids=ids)
        self._entrance = Counting(StrictBodies(self.app), counters)

    def close(self) -> None:
        """Be no longer ready, and end every open stream, so that the server can stop."""
        self._closing.begin()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._entrance(scope, receive, send)


def build_app(around: Surroundings) -> FastAPI:
    """Join the routes of all features."""
    app = FastAPI(
        title="AgentHub",
        version=version("agenthub"),
        docs_url=None,
        openapi_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.surroundings = around
    app.openapi = lambda: describe(app)
    problems.install(app)
    for router in (*ROUTERS, _descriptions(app)):
        app.include_router(router)
    return app


def _descriptions(app: FastAPI) -> APIRouter:
    router = APIRouter(tags=["operations"])

    @router.get("/openapi.json", summary="Describe this interface")
    async def openapi_json(principal: Reader) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        return app.openapi()

    @router.get("/docs", summary="Show this interface", response_class=HTMLResponse)
    async def docs(principal: Reader) -> Response:  # pyright: ignore[reportUnusedFunction]
        return docs_page(app.openapi())

    return router
